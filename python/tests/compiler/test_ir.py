"""Modules, operations, attributes and types, as Python sees them."""

import contextlib
import threading

import pytest
from sample_modules import CRASHING, EXCHANGE

from moe_mlir import Exchange, compiler
from moe_mlir.compiler import Attribute, CompileError, Context, StaleError, Type


def test_text_and_bytecode_are_the_same_module(module):
    text = str(module)
    assert "moe.alltoallv" in text
    assert str(compiler.parse(text)) == text
    copy = compiler.parse(module.bytecode())
    assert copy.print(debug_info=True) == module.print(debug_info=True)


def test_several_ops_become_a_module():
    module = compiler.parse("func.func private @a()\nfunc.func private @b()")
    names = [op.attributes["sym_name"].value for op in module.body.operations]
    assert names == ["a", "b"]


def test_walk_goes_from_the_outside_to_the_inside(module):
    assert [op.name for op in module.walk()] == [
        "builtin.module",
        "shard.grid",
        "func.func",
        "moe.alltoallv",
        "func.return",
    ]
    assert [op.name for op in module.walk("func.return")] == ["func.return"]
    assert module.walk("moe.dispatch") == []
    function = module.walk("func.func")[0]
    assert [op.name for op in function.walk("moe.alltoallv")] == ["moe.alltoallv"]


def test_operation_knows_its_values(module):
    (op,) = module.walk("moe.alltoallv")
    function = op.parent
    assert function is not None and function.name == "func.func"
    assert op.operands == function.regions[0].blocks[0].arguments
    send, counts = op.operands
    assert str(send.type) == "tensor<6x4xf32>"
    assert (send.number, counts.number) == (0, 1)
    assert send.owner == function.regions[0].blocks[0]
    assert send.users == [op]
    recv = op.results[0]
    assert recv.owner == op
    assert [user.name for user in recv.users] == ["func.return"]
    assert repr(recv) == "Value(tensor<12x4xf32>)"
    assert len({*op.operands, *op.results}) == 4


def test_locations(module):
    (op,) = module.walk("moe.alltoallv")
    place = op.location
    assert (place.file, place.line, place.column) == ("exchange.mlir", 4, 15)
    assert str(place) == 'loc("exchange.mlir":4:15)'
    unknown = compiler.parse("func.func private @f() loc(unknown)").walk("func.func")[0]
    assert (unknown.location.file, unknown.location.line) == (None, None)
    fused = 'func.func private @f() loc(fused["a.py":3:1, "b.py":4:2])'
    place = compiler.parse(fused).walk("func.func")[0].location
    assert (place.file, place.line, place.column) == ("a.py", 3, 1)


def test_attributes_have_values_of_python():
    module = compiler.parse(
        """\
        func.func private @x() attributes {a = 7 : i64, b = true, c = 0.5 : f32,
          d = "text", e = @f::@g, f = i32, g, h = [1, "x"], i = {k = -1 : si8},
          j = array<i64: 1, 2>, k = 255 : ui8,
          l = dense<0> : tensor<2xi32>, m = 3 : index}"""
    )
    attributes = module.walk("func.func")[0].attributes
    assert attributes["a"].value == 7
    assert attributes["b"].value is True
    assert attributes["c"].value == 0.5
    assert attributes["d"].value == "text"
    assert attributes["e"].value == "f::g"
    assert str(attributes["f"].value) == "i32"
    assert attributes["g"].value is True
    assert attributes["h"].value == [1, "x"]
    assert attributes["i"].value == {"k": -1}
    assert attributes["j"].value == [1, 2]
    assert attributes["k"].value == 255
    assert attributes["m"].value == 3
    with pytest.raises(TypeError) as error:
        attributes["l"].value  # noqa: B018
    assert str(error.value) == (
        "attribute 'dense<0> : tensor<2xi32>' has no 'value' in Python; use str()"
    )


def test_attributes_are_a_mapping(module):
    (op,) = module.walk("moe.alltoallv")
    assert list(op.attributes) == op.attributes.keys() == ["grid", "overflow"]
    assert len(op.attributes) == 2 and "grid" in op.attributes
    assert dict(op.attributes.items())["grid"].value == "ep"
    assert op.attributes.get("blocks") is None
    op.attributes["note"] = Attribute.parse("5 : i32", module.context)
    assert "note = 5 : i32" in str(op)
    del op.attributes["note"]
    with pytest.raises(KeyError) as error:
        del op.attributes["note"]
    assert error.value.args == ("'moe.alltoallv' has no attribute 'note'; it has: grid overflow",)
    with pytest.raises(ValueError, match="the attribute is of another context than the op"):
        op.attributes["note"] = Attribute.parse("5 : i32", Context())


STAGES = [("host", None), ("host", "symm"), ("cuda", "symm"), ("host", "mlir"), ("cuda", "mlir")]


@pytest.mark.parametrize(("target", "emit"), STAGES)
@pytest.mark.parametrize("layout", ["rank_major", "expert_major"])
def test_deleting_attributes_breaks_nothing(target, emit, layout):
    """Whatever attribute an op has to lose, what follows works or is a CompileError."""
    is_grouped = layout == "expert_major"
    plan = Exchange(
        num_experts=8,
        top_k=2,
        hidden=16,
        max_tokens=4,
        layout=layout,
        gradients=True,
        combine_weights=is_grouped,
        alignment=2 if is_grouped else 1,
        list_alignment=None if is_grouped else 2,
        keep_blocks=not is_grouped,
    )
    source = plan.mlir(2)
    if emit:
        source = compiler.compile(source, target, emit=emit).data
    module = compiler.parse(source)
    done = set()
    for op in module.walk():
        for name in list(op.attributes):
            if (op.name, name) in done:
                continue
            done.add((op.name, name))
            old = op.attributes[name]
            try:
                del op.attributes[name]
            except ValueError as error:
                assert str(error) == (
                    f"'{op.name}' attribute '{name}' is required, and has no default"
                )
                assert op.attributes[name] == old
                continue
            str(op), op.attributes.items()
            for use in (op.verify, module.bytecode):
                with contextlib.suppress(CompileError):
                    use()
                assert op.name, "The context is lost after a crash."
            op.attributes[name] = old
    module.verify()
    assert len(done) > 10


def test_a_deleted_attribute_goes_back_to_its_default():
    plan = Exchange(num_experts=8, top_k=2, hidden=16, max_tokens=4, padding="zero")
    module = compiler.parse(plan.mlir(2))
    (op,) = module.walk("moe.dispatch")
    del op.attributes["padding"]
    assert str(op.attributes["padding"]) == "#moe.padding<none>"
    module.verify()
    assert compiler.parse(module.bytecode()).walk("moe.dispatch")
    # One that an op may do without, and one that it may not.
    del op.attributes["max_tokens"]
    assert "max_tokens" not in op.attributes
    with pytest.raises(ValueError) as error:
        del op.attributes["grid"]
    assert str(error.value) == (
        "'moe.dispatch' attribute 'grid' is required, and has no default"
    )
    assert op.attributes["grid"].value == "ep"


def test_an_attribute_of_another_kind_is_refused(module):
    (op,) = module.walk("moe.alltoallv")
    with pytest.raises(ValueError) as error:
        op.attributes["overflow"] = Attribute.parse("5 : i32", module.context)
    assert str(error.value) == (
        "'moe.alltoallv' attribute 'overflow' expects another kind of value, as "
        "#moe.overflow<error>, got 5 : i32"
    )
    module.verify()
    plan = Exchange(num_experts=8, top_k=2, hidden=16, max_tokens=4)
    (op,) = compiler.parse(plan.mlir(2), module.context).walk("moe.dispatch")
    sizes = op.attributes["operandSegmentSizes"]
    wrong = str(sizes).replace("1,", "9,", 1)
    with pytest.raises(ValueError, match="expects another kind of value, as array<i32: 1, "):
        op.attributes["operandSegmentSizes"] = Attribute.parse(wrong, module.context)
    assert op.attributes["operandSegmentSizes"] == sizes


def test_a_wrong_module_is_neither_written_nor_compiled_nor_run(module):
    (op,) = module.walk("moe.alltoallv")
    op.attributes["grid"] = Attribute.parse("@nowhere", module.context)
    for use in (module.bytecode, lambda: compiler.compile(module), lambda: module.run("cse")):
        with pytest.raises(CompileError, match="@nowhere") as error:
            use()
        assert type(error.value) is CompileError
    assert error.value.passes.timings == []
    module.run("cse", verify_each=False)


def test_attributes_of_unknown_ops_stay():
    context = Context(allow_unregistered=True)
    (op,) = compiler.parse('"other.op"() <{a = 1 : i32}> : () -> ()', context).walk("other.op")
    with pytest.raises(ValueError, match=r"'other\.op' attribute 'a' is required"):
        del op.attributes["a"]
    op.attributes["b"] = op.attributes["a"]
    del op.attributes["b"]
    assert str(op) == '"other.op"() <{a = 1 : i32}> : () -> ()'


def test_types():
    context = Context()
    tensor = Type.parse("tensor<?x4xbf16>", context)
    assert tensor.shape == (None, 4)
    assert str(tensor.element_type) == "bf16"
    assert Type.parse("tensor<*xf32>", context).shape is None
    scalar = Type.parse("i32", context)
    assert (scalar.shape, scalar.element_type) == (None, None)
    function = Type.parse("(i32, f32) -> tensor<?x4xbf16>", context)
    assert function.inputs == [scalar, Type.parse("f32", context)]
    assert function.results == [tensor]
    assert scalar != Type.parse("i32", Context())
    assert scalar != "i32"
    with pytest.raises(CompileError) as error:
        Type.parse("tensor<", context)
    assert error.value.diagnostics[0].severity == "error"


def test_printing(module):
    assert "loc(" not in module.print()
    assert 'loc("exchange.mlir":4:15)' in module.print(debug_info=True, local_scope=True)
    assert '"moe.alltoallv"(' in module.print(generic=True)
    assert "alltoallv" not in module.print(skip_regions=True)
    big = compiler.parse(
        "func.func private @f() attributes {a = dense<[1, 2, 3, 4]> : tensor<4xi32>}"
    )
    assert "__elided__" in big.print(elide_elements=2)
    assert "__elided__" not in big.print(elide_elements=4)


def test_verify(module):
    module.verify()
    (op,) = module.walk("moe.alltoallv")
    op.attributes["grid"] = Attribute.parse("@nowhere", module.context)
    with pytest.raises(CompileError) as error:
        module.verify()
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.op == "moe.alltoallv"
    assert "@nowhere" in diagnostic.message
    assert str(diagnostic.location) == "exchange.mlir:4:15"
    assert str(diagnostic).startswith("exchange.mlir:4:15: error: 'moe.alltoallv' op ")


def test_clone_is_apart(module):
    copy = module.clone()
    assert str(copy) == str(module) and copy.context == module.context
    module.run("moe-plan{target=cuda}")
    assert str(copy) != str(module)


def test_what_was_taken_before_passes_ran_is_stale(module):
    (op,) = module.walk("moe.alltoallv")
    value, region, attributes = op.results[0], op.parent.regions[0], op.attributes
    place = op.location
    module.run("canonicalize")
    message = (
        "passes have run on the module since this was taken from it; take it from the module again"
    )
    for use in (
        lambda: op.name,
        lambda: str(op),
        lambda: value.type,
        lambda: region.blocks,
        lambda: attributes["grid"],
    ):
        with pytest.raises(StaleError) as error:
            use()
        assert str(error.value) == message
    # What cannot change stays.
    assert place.line == 4
    assert op != module.walk("moe.alltoallv")[0]


def test_unregistered_operations():
    text = '%0 = "other.op"() {a = 1 : i32} : () -> !other.type'
    with pytest.raises(CompileError) as error:
        compiler.parse(text)
    assert "operation being parsed with an unregistered dialect" in str(error.value)
    module = compiler.parse(text, Context(allow_unregistered=True))
    assert module.context.allow_unregistered
    (op,) = module.walk("other.op")
    assert op.attributes["a"].value == 1


def test_bytecode_of_a_newer_mlir(module):
    data = bytearray(module.bytecode())
    data[4] = 0x7F  # The version follows four magic bytes.
    with pytest.raises(CompileError) as error:
        compiler.parse(bytes(data))
    assert error.value.diagnostics[0].message == (
        "bytecode version 63 is newer than the current version 6"
    )


@pytest.mark.parametrize("size", [4, 5, 20, 100])
def test_bytecode_that_ends_too_soon(module, size):
    with pytest.raises(CompileError):
        compiler.parse(module.bytecode()[:size])


def test_text_that_does_not_parse():
    with pytest.raises(CompileError) as error:
        compiler.parse("func.func @f() {\n  mystery\n}", filename="m.mlir")
    assert str(error.value) == (
        "m.mlir:2:3: error: custom op 'mystery' is unknown (tried 'func.mystery' as well)"
    )


def test_notes_belong_to_their_error():
    with pytest.raises(CompileError) as error:
        compiler.parse("func.func private @f()\nfunc.func private @f()")
    (diagnostic,) = error.value.diagnostics
    (note,) = diagnostic.notes
    assert note.severity == "note"
    assert str(note) == "-:1:1: note: see existing symbol definition here"
    assert str(error.value).splitlines()[1] == str(note)


def test_a_crash_loses_the_context_and_nothing_else():
    context = Context()
    other = compiler.parse(EXCHANGE, context)
    op = other.walk("moe.alltoallv")[0]
    with pytest.raises(compiler.CompilerCrash) as crash:
        compiler.parse(CRASHING, context)
    assert crash.value.diagnostics[-1].message == (
        "the compiler crashed: SIGSEGV (Segmentation fault)"
    )
    for use in (lambda: str(other), lambda: op.name, lambda: compiler.parse(EXCHANGE, context)):
        with pytest.raises(StaleError) as error:
            use()
        assert str(error.value) == (
            "a crash of the compiler has left the context unusable; make a new one and parse the "
            "module again"
        )
    assert compiler.parse(EXCHANGE).walk("moe.alltoallv")


def test_threads_share_a_context():
    context = Context()
    failures = []

    def work(number: int) -> None:
        try:
            for _ in range(10):
                module = compiler.parse(EXCHANGE, context, filename=f"{number}.mlir")
                module.run("canonicalize,cse")
                (op,) = module.walk("moe.alltoallv")
                assert op.location.file == f"{number}.mlir"
                assert op.operands[0].type == Type.parse("tensor<6x4xf32>", context)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert failures == []
