"""Names from a model file -> Python names that an engineer would choose, the same in every run."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from converters.graph import Graph, Module
from migrate.readers.vocabulary import snake_case

# Attributes of every nn.Module, which a layer's name must not hide. A test holds them against torch.
MODULE_ATTRIBUTES = frozenset(
    """T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda
    double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu
    load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters
    register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
    register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty
    train training type xpu zero_grad""".split()
)
RESERVED = MODULE_ATTRIBUTES | {"logits", "self", "super", "torch", "nn", "F", "Tensor", "local", "math"}

INSTEAD = {"logits": "classifier"}  # a layer whose name a method of the model takes

# What automatically named layers (`conv2d_17`) are called, in order of use.
KINDS = {
    "Dense": "fc", "EinsumDense": "projection", "BatchNormalization": "bn", "LayerNormalization": "ln",
    "SeparableConv1D": "sepconv", "SeparableConv2D": "sepconv", "Bidirectional": "rnn", "SimpleRNN": "rnn",
    "MultiHeadAttention": "attention", "GroupQueryAttention": "attention",
    "GroupedQueryAttention": "attention", "Functional": "model", "Sequential": "stack",
}  # fmt: skip
# How Keras named layers of classes that have other names today.
OLD_NAMES = {
    "atrousconvolution": "conv", "convolution": "conv", "separableconvolution": "separableconv",
    "deconvolution2d": "conv2dtranspose", "timedistributeddense": "dense", "cu_dnn": "",
}  # fmt: skip
# What a partial of a normalization is called.
PARTIALS = {"BatchNorm", "LayerNorm", "GroupNorm"}
WRAPPERS = re.compile(r"(time_?distributed|bidirectional)(_\d+)?")
# How well-known names are capitalized inside a class name.
CAPITALS = {
    word.lower(): word
    for word in "ResNet MobileNet DenseNet EfficientNet ConvNeXt NASNet VGG LSTM GRU RNN CNN MLP UNet BERT GAN VAE "
    "AutoEncoder BiLSTM MNIST CIFAR InceptionResNet LeNet AlexNet SqueezeNet GPT TCN ViT DNN".split()
}
AUTOMATIC_INPUT = re.compile(r"(input|input_layer|inputs|x)(_?\d+)?|.*_input(_\d+)?")
GENERIC = {"model", "functional", "sequential", "my_model", "weights", "saved_model", "best_model", "checkpoint", "net"}


@dataclass
class Names:
    """The Python names of one lowered model: of its classes, by graph, and of its attributes, by module."""

    classes: dict[Graph, str] = field(default_factory=dict)
    attributes: dict[Graph, dict[str, str]] = field(default_factory=dict)

    def state(self, graph: Graph, prefix: str = "") -> Iterator[tuple[str, Module, str]]:
        """(key in the state dict, module, key within the module) of everything that holds numbers, in order."""
        for module in graph.modules:
            attribute = f"{prefix}{self.attributes[graph][module.key]}"
            if module.graph is not None:
                yield from self.state(module.graph, f"{attribute}.")
            for name in module.state:
                yield (f"{attribute}.{name}" if name else attribute), module, name


def flat_names(flat: Graph, form: Graph, names: Names) -> Names:
    """The names of a graph with blocks, for the graph without: each module by its whole path."""
    found = Names({flat: names.classes[form]})
    _fill(flat, form, names, found)
    return found


def _fill(flat: Graph, form: Graph, names: Names, found: Names) -> None:
    inner = {module.key: module.graph for module in flat.modules}
    attributes = found.attributes[flat] = {}
    models = {key for key, graph in inner.items() if graph is not None}
    for path, module in own_modules(form, names, models):
        attributes[module.key] = path
        if module.graph is not None and (graph := inner[module.key]) is not None:
            _fill(graph, module.graph, names, found)


def own_modules(form: Graph, names: Names, models: set[str], prefix: str = "") -> Iterator[tuple[str, Module]]:
    """(path, module) of a graph's layers and nested models (those of these keys), through its stages and blocks."""
    for module in form.modules:
        path = f"{prefix}{names.attributes[form][module.key]}"
        if module.graph is not None and module.key not in models:
            yield from own_modules(module.graph, names, models, f"{path}.")
        else:
            yield path, module


def assign_names(graph: Graph, class_name: str, locals_used: Iterable[str] = ()) -> Names:
    """Names for a model and, below it, its nested models and blocks."""
    from migrate.emit.block_names import Namer

    names = Names()
    Namer(names, {*locals_used, *PARTIALS, "Tensor"}).model(graph, class_name)
    return names


class Numbers:
    """The numbers of things that have no name of their own: 1, 2 … in order of use; a single one of its kind has none.

    A first pass over everything counts, a second one names.
    """

    def __init__(self, total: Mapping[str, int] | None = None) -> None:
        self.total, self.count = total, dict[str, int]()
        self.known: dict[tuple[str, str], int] = {}

    def name(self, kind: str, thing: str) -> str:
        """`conv2`, or `dropout` where there is one only; the same for all parts of one thing."""
        if (kind, thing) not in self.known:
            self.known[kind, thing] = self.count[kind] = self.count.get(kind, 0) + 1
        return kind if self.total and self.total.get(kind) == 1 else f"{kind}{self.known[kind, thing]}"


def attribute_of(module: Module, numbers: Numbers, prefix: str) -> str:
    """What a layer is called in the model that holds it: the user's name, else its kind."""
    path, _, role = module.key.removeprefix(prefix).partition(":")
    if not path:
        return identifier(role)  # it belongs to no layer
    own = next((part for part in reversed(path.split("/")[-2:]) if not is_automatic(part, module.class_name)), None)
    if own is None or (module.graph is not None and is_automatic(path.rpartition("/")[2], module.class_name)):
        base = numbers.name(_kind(module), path)
    else:
        base = identifier(own) or kind_of(module.class_name)
    return identifier(f"{base}_{role}") if role else INSTEAD.get(own or "", base)


def _kind(module: Module) -> str:
    """`lstm` for the halves of a Bidirectional(LSTM)."""
    made = " ".join([module.constructor, *(str(argument) for argument in module.args)])
    if module.class_name.rpartition(".")[2] == "Bidirectional" and (found := re.search("LSTM|GRU|RNN", made)):
        return found[0].lower()
    return kind_of(module.class_name)


def kind_of(class_name: str) -> str:
    """`Conv2DTranspose` -> `conv_transpose`, `LSTM` -> `lstm`."""
    class_name = class_name.rpartition(".")[2]
    name = KINDS.get(class_name) or re.sub(r"_?\d+d(?=_|$)", "", snake_case(class_name))
    return identifier(name) or "layer"


def is_automatic(name: str, class_name: str) -> bool:
    """Whether Keras made a layer's name up from its class."""
    if WRAPPERS.fullmatch(name) or name.startswith("tf."):
        return True
    plain = re.sub(r"_\d+$", "", name)
    plain = next((plain.replace(old, new, 1) for old, new in OLD_NAMES.items() if plain.startswith(old)), plain)
    return plain in {snake_case(class_name), class_name.lower(), snake_case(class_name).replace("_", "")}


def identifier(name: str) -> str:
    """A lower-case ASCII identifier made of a name, no keyword and no attribute of nn.Module; '' if nothing is left."""
    name = re.sub(r"^tf\.(\w+\.)*(?=\w)", "", name)  # Keras 2 names calls of TensorFlow after the function
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain)
    plain = re.sub(r"_+", "_", re.sub(r"\W+", "_", plain)).strip("_").lower()[:60].rstrip("_")
    if plain[:1].isdigit():
        plain = f"layer_{plain}"
    if keyword.iskeyword(plain) or keyword.issoftkeyword(plain) or plain in RESERVED:
        plain = f"{plain}_layer"
    return plain


def says_nothing(name: str) -> bool:
    """Whether the name of a model is one that Keras makes up, or that fits any."""
    plain = identifier(name)
    return plain in GENERIC or re.fullmatch(r"(functional|model|sequential)(_\d+)?", plain) is not None


def class_name_of(name: str, fallback: str) -> str:
    """`mobilenetv2_1.00_224` -> `MobileNetV2`, `digits_cnn` -> `DigitsCNN`; the fallback if a name says nothing."""
    name = re.sub(r"(_\d+(\.\d+)?)+$", "", name)
    if says_nothing(name):
        return fallback
    words = [
        word
        for word in re.split(r"[\W_]+", unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode())
        if word
    ]
    joined = "".join(_capitalized(word) for word in words)[:60]
    if not joined or keyword.iskeyword(joined):
        return fallback
    return joined if not joined[0].isdigit() else f"Model{joined}"


def _capitalized(word: str) -> str:
    """One word of a class name: known names as they are written, `v2` as a version."""
    for known in sorted(CAPITALS, key=len, reverse=True):
        if word.lower().startswith(known):
            rest = word[len(known) :]
            return CAPITALS[known] + (
                re.sub(r"^(\d*)v(?=\d)", r"\1V", rest)
                if not rest[:1].isalpha() or rest[:1] in "vV"
                else _capitalized(rest)
            )
    if re.fullmatch(r"[vV]\d+\w*", word):
        return word.upper()
    return word[:1].upper() + word[1:]


def unique(name: str, taken: set[str], joint: str = "_") -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}{joint}{number}", number + 1
    taken.add(candidate)
    return candidate
