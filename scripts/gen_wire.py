"""Generate `hyperpi/wire/hyperpi/**` from `proto/**`: messages, gRPC stubs and type stubs for both.

    python scripts/gen_wire.py            write what changed
    python scripts/gen_wire.py --check    exit 1 and name the files when the committed ones differ

protoc lets generated modules import each other by their proto path (`hyperpi.v1`), which would need a
second `hyperpi` package on sys.path; the imports are rewritten to the place where the files really are.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
WIRE = ROOT / "hyperpi" / "wire"
PACKAGE = "hyperpi.wire"

_IMPORT = re.compile(r"^(from|import) hyperpi(?=[.\s])", re.MULTILINE)


def run_protoc(out: Path) -> descriptor_pb2.FileDescriptorSet:
    """Run protoc over every .proto file into `out`. Exits with protoc's status when it fails."""
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    if not sources:
        sys.exit(f"no .proto file under {PROTO}")
    descriptors = out / "descriptors.bin"
    status = protoc.main(
        [
            "protoc",
            f"-I{PROTO}",
            f"-I{resources.files('grpc_tools') / '_proto'}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            f"--descriptor_set_out={descriptors}",
            *sources,
        ]
    )
    if status:
        sys.exit(status)
    found = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    descriptors.unlink()
    return found


def module_of(proto_file: str) -> str:
    """The dotted path of the messages generated from one file, as it is imported."""
    stem = proto_file.removesuffix(".proto").replace("/", ".").replace("-", "_") + "_pb2"
    return f"{PACKAGE}.{stem}" if stem.startswith("hyperpi.") else stem


def message_names(files: descriptor_pb2.FileDescriptorSet) -> dict[str, tuple[str, str]]:
    """`.package.Message` -> (module, Message), nested messages included."""
    known: dict[str, tuple[str, str]] = {
        ".google.protobuf.Empty": ("google.protobuf.empty_pb2", "Empty"),
    }
    for file in files.file:
        pending = [(message, message.name) for message in file.message_type]
        while pending:
            message, name = pending.pop()
            known[f".{file.package}.{name}"] = (module_of(file.name), name)
            pending += [(nested, f"{name}.{nested.name}") for nested in message.nested_type]
    return known


def grpc_stub_types(file: descriptor_pb2.FileDescriptorProto, names: dict[str, tuple[str, str]]) -> str:
    """The .pyi of one *_pb2_grpc module, for grpc.aio: protoc itself writes none."""
    used: set[str] = set()

    def python(message: str) -> str:
        module, name = names[message]
        used.add(module)
        return f"{module}.{name}"

    body: list[str] = []
    for service in file.service:
        stub: list[str] = []
        servicer: list[str] = []
        for method in service.method:
            asks, answers = python(method.input_type), python(method.output_type)
            kind = "".join(
                "Stream" if s else "Unary" for s in (method.client_streaming, method.server_streaming)
            )
            stub.append(f"    {method.name}: grpc.aio.{kind}MultiCallable[{asks}, {answers}]")
            request = (
                f"request_iterator: AsyncIterator[{asks}]" if method.client_streaming else f"request: {asks}"
            )
            # An async generator, or a coroutine that uses context.read and context.write.
            returned = (
                f"AsyncIterator[{answers}] | Awaitable[None]"
                if method.server_streaming
                else f"Awaitable[{answers}]"
            )
            servicer += [
                f"    def {method.name}(",
                f"        self, {request}, context: grpc.aio.ServicerContext[{asks}, {answers}]",
                f"    ) -> {returned}: ...",
            ]
        body += [
            "",
            f"class {service.name}Stub:",
            "    def __init__(self, channel: grpc.aio.Channel) -> None: ...",
            *stub,
            "",
            f"class {service.name}Servicer:",
            *servicer,
            "",
            f"def add_{service.name}Servicer_to_server(",
            f"    servicer: {service.name}Servicer, server: grpc.aio.Server",
            ") -> None: ...",
        ]
    head = [
        "from collections.abc import AsyncIterator, Awaitable",
        "",
        "import grpc.aio",
        *(f"import {module}" for module in sorted(used)),
    ]
    return "\n".join([*head, *body]) + "\n"


def generate(out: Path) -> Iterator[tuple[Path, str]]:
    """Every generated file as (path below hyperpi/wire, text)."""
    files = run_protoc(out)
    names = message_names(files)
    for file in files.file:
        stub = out / (file.name.removesuffix(".proto") + "_pb2_grpc.py")
        if not file.service:
            stub.unlink(missing_ok=True)  # protoc writes an empty one
            continue
        stub.with_suffix(".pyi").write_text(grpc_stub_types(file, names), "utf-8")
    for folder in sorted({path.parent for path in out.rglob("*.py")}):
        while folder != out:
            (folder / "__init__.py").touch()
            folder = folder.parent
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        text = path.read_text("utf-8")
        if path.stem != "__init__" and not (path.name.endswith("_pb2_grpc.pyi")):
            text = _IMPORT.sub(rf"\1 {PACKAGE}.hyperpi", text)
        yield path.relative_to(out), text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file differs")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        wanted = dict(generate(Path(scratch)))
    top = WIRE / "hyperpi"
    present = {p.relative_to(WIRE) for p in top.rglob("*") if p.is_file() and p.suffix in {".py", ".pyi"}}
    stale = sorted(present - set(wanted))
    same = {path for path in present & set(wanted) if (WIRE / path).read_text("utf-8") == wanted[path]}
    changed = sorted(set(wanted) - same)
    for path in [*changed, *stale]:
        print(("stale: " if path in stale else "differs: " if check else "wrote: ") + f"hyperpi/wire/{path}")
    if check:
        return 1 if changed or stale else 0
    for path in stale:
        (WIRE / path).unlink()
    for path in changed:
        (WIRE / path).parent.mkdir(parents=True, exist_ok=True)
        (WIRE / path).write_text(wanted[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
