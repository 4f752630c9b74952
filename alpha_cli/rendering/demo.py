"""Renders the bots' part of the demo's compose file: invented keys, simulated accounts, the bots' services."""

from alpha.registry import Bot, Registry

_DEPOSIT_USDT = 10_000
#: Prefix of the demo's container names, so that the demo can run alongside production.
CONTAINER_PREFIX = "demo-"


def demo_keys(registry: Registry) -> str:
    """The anchors with each bot's keys and the accounts the simulated exchange opens for them."""
    lines, reads, accounts = [], [], []
    for container, bots in registry.containers.items():
        lines.append(f"x-demo-{container}: &demo-{container}")
        for bot in bots:
            (key, secret), (read_key, read_secret) = _pair(registry, bot), _pair(registry, bot, "-reads")
            lines += [f"  {bot.key_variable}: {key}", f"  {bot.secret_variable}: {secret}"]
            reads += [f"  {bot.read_key_variable}: {read_key}", f"  {bot.read_secret_variable}: {read_secret}"]
            accounts += [f"  {key}:{secret}:{_DEPOSIT_USDT}", f"  {read_key}:{read_secret}:0:of={key},read-only"]
    anchors = ", ".join(f"*demo-{container}" for container in registry.containers)
    lines += ["x-demo-keys: &demo-keys", f"  <<: [{anchors}]"]
    lines += ["# Who only reads has keys of the same accounts that cannot trade.", "x-demo-reads: &demo-reads", *reads]
    lines += ["x-demo-accounts: &demo-accounts >-", *accounts]
    return "\n".join(lines) + "\n"


def demo_services(registry: Registry) -> str:
    """The demo's overrides of each container of bots."""
    return "".join(
        f"  {container}:\n"
        f"    image: alpha.invalid/demo/{container}:${{ALPHA_VERSION:-local}}\n"
        f"    container_name: {CONTAINER_PREFIX}{container}\n"
        f"    environment: {{ <<: [*demo-stores, *demo-exchange, *demo-{container}] }}\n"
        "    depends_on: *after-exchange\n"
        "    volumes: *demo-volumes\n"
        for container in registry.containers
    )


def demo_channels(registry: Registry) -> str:
    """The bots' Telegram channels, emptied: the demo's trades must not be announced."""
    names = [f"{bot.prefix}_TELEGRAM_{what}" for bot in registry.bots for what in ("BOT_TOKEN", "CHANNEL_ID")]
    return "".join(f'      {name}: ""\n' for name in names)


def _pair(registry: Registry, bot: Bot, kind: str = "") -> tuple[str, str]:
    name = bot.id if registry.is_shared(bot) else bot.container
    return f"demo-{name}{kind}", f"demo-secret-of-{name}{kind}"
