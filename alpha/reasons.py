"""Former name of `alpha.model.reason`. Kept for one release for users' own strategies."""

from alpha.model.reason import Reason as Reason
