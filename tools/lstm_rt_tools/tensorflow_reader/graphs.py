"""What a SavedModel would run: its signatures, and the operations behind one, looked at before TensorFlow reads it.

TensorFlow's graphs can read and write files, and what a SavedModel says of itself is run when it is loaded. So only
graphs of operations that compute are let through, of models whose loading restores variables and does no more.
"""

# ruff: noqa: RUF009 - what describes a field is called where the field stands
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lstm_rt.errors import ConvertError
from lstm_rt.files import read_regular

from ..names import listed, shown
from ..row import SAVED_MODEL
from ..weights.budget import Budget
from ..weights.protobuf import Reader, many, one


@dataclass(slots=True)
class _Function:
    name: str = one(1, "text", "")


@dataclass(slots=True)
class _List:
    functions: list[_Function] = many(9, "message")


@dataclass(slots=True)
class _Value:
    list: _List | None = one(1, "message")
    function: _Function | None = one(10, "message")


@dataclass(slots=True)
class _Attribute:
    value: _Value | None = one(2, "message")


@dataclass(slots=True)
class _Node:
    name: str = one(1, "text", "")
    op: str = one(2, "text", "")
    inputs: list[str] = many(3, "text")
    attributes: list[_Attribute] = many(5, "message")


@dataclass(slots=True)
class _Defined:
    signature: _Function | None = one(1, "message")
    nodes: list[_Node] = many(3, "message")


@dataclass(slots=True)
class _Library:
    functions: list[_Defined] = many(1, "message")


@dataclass(slots=True)
class _Graph:
    nodes: list[_Node] = many(1, "message")
    library: _Library | None = one(2, "message")


@dataclass(slots=True)
class _Info:
    name: str = one(1, "text", "")


@dataclass(slots=True)
class _Port:
    name: str = one(1, "text", "")
    info: _Info | None = one(2, "message")


@dataclass(slots=True)
class _Signature:
    inputs: list[_Port] = many(1, "message")
    outputs: list[_Port] = many(2, "message")


@dataclass(slots=True)
class _Named:
    name: str = one(1, "text", "")
    signature: _Signature | None = one(2, "message")


@dataclass(slots=True)
class _Object:
    asset: memoryview | None = one(5, "bytes")
    resource: memoryview | None = one(10, "bytes")
    savers: list[memoryview] = many(11, "bytes")
    saver: str = one(16, "text", "")

    @property
    def found(self) -> str:
        """What loading it runs code for; empty if it runs none."""
        if self.asset is not None:
            return "a file beside it"
        if self.resource is not None:
            return "a table"
        return "a saver of its own" if self.savers or self.saver else ""


@dataclass(slots=True)
class _Objects:
    nodes: list[_Object] = many(1, "message")


@dataclass(slots=True)
class _MetaGraph:
    graph: _Graph | None = one(2, "message")
    signatures: list[_Named] = many(5, "message")
    objects: _Objects | None = one(7, "message")


@dataclass(slots=True)
class _SavedModel:
    graphs: list[_MetaGraph] = many(2, "message")


_KINDS: dict[tuple[str, str], type] = {
    ("_List", "functions"): _Function,
    ("_Value", "list"): _List,
    ("_Value", "function"): _Function,
    ("_Attribute", "value"): _Value,
    ("_Node", "attributes"): _Attribute,
    ("_Defined", "signature"): _Function,
    ("_Defined", "nodes"): _Node,
    ("_Library", "functions"): _Defined,
    ("_Graph", "nodes"): _Node,
    ("_Graph", "library"): _Library,
    ("_Port", "info"): _Info,
    ("_Signature", "inputs"): _Port,
    ("_Signature", "outputs"): _Port,
    ("_Named", "signature"): _Signature,
    ("_Objects", "nodes"): _Object,
    ("_MetaGraph", "graph"): _Graph,
    ("_MetaGraph", "signatures"): _Named,
    ("_MetaGraph", "objects"): _Objects,
    ("_SavedModel", "graphs"): _MetaGraph,
}
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
    graphs = Reader(budget, "SavedModel", _KINDS).message(_SavedModel, memoryview(data)).graphs
    if len(graphs) != 1:
        raise ConvertError(f"{what}: a SavedModel of {len(graphs)} graphs, expected one")
    (meta,) = graphs
    if meta.objects is None or meta.graph is None:
        raise ConvertError(f"{what}: a SavedModel of TensorFlow 1, expected one of TensorFlow 2")
    for node in meta.objects.nodes:
        if found := node.found:
            raise ConvertError(f"{what}: the SavedModel has {found}, and loading it runs code, which is not done here")
    named = {s.name: s.signature for s in meta.signatures if s.signature and not s.name.startswith("__saved_model_")}
    name = _DEFAULT if _DEFAULT in named else next(iter(named), "")
    if len(named) != 1 and name != _DEFAULT:
        raise ConvertError(
            f"{what}: the SavedModel has {len(named)} signatures ({listed(sorted(named), 5)}), expected one, or one "
            f"called {_DEFAULT!r}: give it to tf.saved_model.save(..., signatures=...)"
        )
    strange = sorted({n.op for n in _behind(meta.graph, named[name], budget)} - COMPUTES)
    if strange:
        raise ConvertError(f"{what}: its operation {shown(strange[0])} is not supported; expected those that compute")
    return name


def _behind(graph: _Graph, signature: _Signature | None, budget: Budget) -> Iterator[_Node]:
    """The nodes of the graph and of its functions that the outputs of a signature are computed by."""
    library = graph.library.functions if graph.library else []
    functions = {f.signature.name: f.nodes for f in library if f.signature}
    outputs = [p.info.name for p in signature.outputs if p.info] if signature else []
    seen: set[str] = set()
    waiting: list[Iterable[_Node]] = [_upwards(graph.nodes, outputs)]
    while waiting:
        for node in waiting.pop():
            budget.steps(1 + len(node.attributes))
            yield node
            for called in _calls(node):
                if called not in seen and called in functions:
                    seen.add(called)
                    waiting.append(functions[called])


def _upwards(nodes: list[_Node], outputs: list[str]) -> Iterator[_Node]:
    by_name: Mapping[str, _Node] = {n.name: n for n in nodes}
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


def _calls(node: _Node) -> Iterator[str]:
    for attribute in node.attributes:
        value = attribute.value
        if value is not None:
            listed_ones = value.list.functions if value.list else []
            yield from (f.name for f in (*listed_ones, *([value.function] if value.function else [])))
