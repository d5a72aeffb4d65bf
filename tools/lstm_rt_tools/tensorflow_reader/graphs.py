"""What a SavedModel would run: its signatures, and the operations behind one, looked at before TensorFlow reads it.

TensorFlow's graphs can read and write files, and what a SavedModel says of itself is run when it is loaded. So only
graphs of operations that compute are let through, of models whose loading restores variables and does no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lstm_rt.errors import ConvertError
from lstm_rt.files import read_regular

from ..names import listed, shown
from ..row import SAVED_MODEL
from ..weights import saved_model_proto as proto
from ..weights.budget import Budget

#: Operations that compute, move numbers, loop and choose, or read and write variables.
_COMPUTES = """
    Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Assert AssignVariableOp Atan Atan2 Atanh AvgPool
    AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchToSpaceND BiasAdd BroadcastArgs BroadcastTo Cast Ceil
    ClipByValue Concat ConcatV2 Const Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 Cos Cosh Cumprod
    Cumsum DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu Empty EmptyTensorList EnsureShape Equal Erf
    Erfc Exp ExpandDims Expm1 Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather
    GatherNd GatherV2 Greater GreaterEqual Identity IdentityN If Inv InvertPermutation IsFinite IsInf IsNan L2Loss
    LeakyRelu Less LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool MaxPool3D
    MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2
    PartitionedCall Placeholder PlaceholderWithDefault Pow PreventGradient Prod Range Rank ReadVariableOp RealDiv
    Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ResourceGather Reverse ReverseSequence
    ReverseV2 Rint Roll Round Rsqrt Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Softmax
    Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze
    StatefulPartitionedCall StatelessIf StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomUniformV2
    StatelessWhile StopGradient StridedSlice Sub Sum Tan Tanh TensorArrayConcatV3 TensorArrayGatherV3
    TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcatV2
    TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
    TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListSetItem TensorListStack
    TensorScatterAdd TensorScatterUpdate Tile TopKV2 Transpose TruncateDiv Unpack VarHandleOp VarIsInitializedOp
    Where While Xdivy Xlogy ZerosLike
"""
COMPUTES = frozenset(_COMPUTES.split())
_DEFAULT = "serving_default"


def signature(folder: Path, budget: Budget) -> str:
    """The name of the signature that is converted, whose operations have been looked at.

    Raises:
        ConvertError: the file is damaged, there is no signature or none that is the usual one, loading it would do more
            than to restore variables, or an operation does more than to compute.
        OSError: the file is missing or cannot be read.
    """
    what, data = folder.name, read_regular(folder / SAVED_MODEL)
    graphs = proto.parse(data, budget).graphs
    if len(graphs) != 1:
        raise ConvertError(f"{what}: a SavedModel of {len(graphs)} graphs, expected one")
    (meta,) = graphs
    graph = proto.graph_of(meta, budget)
    if meta.objects is None or graph is None:
        raise ConvertError(f"{what}: a SavedModel of TensorFlow 1, expected one of TensorFlow 2")
    for node in meta.objects.nodes:
        if found := node.runs:
            raise ConvertError(f"{what}: the SavedModel has {found}, and loading it runs code, which is not done here")
    named = {s.name: s.signature for s in meta.signatures if s.signature and not s.name.startswith("__saved_model_")}
    name = _DEFAULT if _DEFAULT in named else next(iter(named), "")
    if len(named) != 1 and name != _DEFAULT:
        raise ConvertError(
            f"{what}: the SavedModel has {len(named)} signatures ({listed(sorted(named), 5)}), expected one, or one "
            f"called {_DEFAULT!r}: give it to tf.saved_model.save(..., signatures=...)"
        )
    strange = sorted({n.op for n in _behind(graph, named[name], budget)} - COMPUTES)
    if strange:
        raise ConvertError(f"{what}: its operation {shown(strange[0])} is not supported; expected those that compute")
    return name


def _behind(graph: proto.Graph, signature: proto.Signature | None, budget: Budget) -> Iterator[proto.Node]:
    """The nodes of the graph and of its functions that the outputs of a signature are computed by."""
    library = graph.library.functions if graph.library else []
    functions = {f.signature.name: f.nodes for f in library if f.signature}
    outputs = [p.info.name for p in signature.outputs if p.info] if signature else []
    seen: set[str] = set()
    waiting: list[Iterable[proto.Node]] = [_upwards(graph.nodes, outputs)]
    while waiting:
        for node in waiting.pop():
            budget.steps(1 + len(node.attributes))
            yield node
            for called in _calls(node):
                if called not in seen and called in functions:
                    seen.add(called)
                    waiting.append(functions[called])


def _upwards(nodes: list[proto.Node], outputs: list[str]) -> Iterator[proto.Node]:
    by_name: Mapping[str, proto.Node] = {n.name: n for n in nodes}
    waiting, seen = [_name(o) for o in outputs], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen and name in by_name:
            seen.add(name)
            yield by_name[name]
            waiting += [_name(i) for i in by_name[name].inputs]


def _name(tensor: str) -> str:
    """The node that makes a tensor: ``name:0``, or ``^name`` where only its order counts."""
    return tensor.removeprefix("^").split(":")[0]


def _calls(node: proto.Node) -> Iterator[str]:
    for attribute in node.attributes:
        value = attribute.value
        if value is not None:
            listed_ones = value.list.functions if value.list else []
            yield from (f.name for f in (*listed_ones, *([value.function] if value.function else [])))
