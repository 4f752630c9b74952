"""A trained booster as ONNX: one input `features`, one output `score`, compared with the booster itself."""

import logging
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Fatal
from alpha.scoring.local import INPUT, OUTPUT, TOLERANCE
from research.models.booster import predict


def to_onnx(booster: Any, name: str, features: int) -> bytes:
    """The bytes of model.onnx: the same for the same booster. The output with the predicted label is dropped."""
    logging.getLogger("onnxmltools").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx import TensorProto, helper
        from onnxmltools import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        converted = convert_lightgbm(
            booster, initial_types=[(INPUT, FloatTensorType([None, features]))], zipmap=False, target_opset=15
        )
    trees = next(node for node in converted.graph.node if node.op_type.startswith("TreeEnsemble"))
    trees.name = "trees"
    nodes, constants = [trees], []
    if trees.op_type == "TreeEnsembleClassifier":
        trees.output[0], trees.output[1] = "label", "probabilities"
        constants.append(helper.make_tensor("above_zero", TensorProto.INT64, [], [1]))
        nodes.append(helper.make_node("Gather", ["probabilities", "above_zero"], [OUTPUT], axis=1, name="score"))
        shape: list[str | int] = ["rows"]
    else:
        trees.output[0] = OUTPUT
        shape = ["rows", 1]
    trees.input[0] = INPUT
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape)],
        constants,
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="alpha")
    return bytes(model.SerializeToString(deterministic=True))


def onnx_scores(model: bytes, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores of rows by onnxruntime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run([OUTPUT], {INPUT: np.ascontiguousarray(rows)})[0]
    return found.reshape(-1)


def compare(booster: Any, model: bytes, rows: NDArray[np.float32]) -> float:
    """The largest difference between the booster and its ONNX over these rows. Fatal when it exceeds 1e-5."""
    apart = np.abs(predict(booster, rows) - onnx_scores(model, rows).astype(np.float64))
    worst = float(apart.max())
    if not worst <= TOLERANCE:
        raise Fatal(
            f"The ONNX model differs from the trained one by {worst:.3g} in {int((apart > TOLERANCE).sum())} of "
            f"{len(rows)} rows; {TOLERANCE:g} is allowed. Report it with the configuration."
        )
    return worst
