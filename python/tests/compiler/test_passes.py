"""Pass managers: pipelines, the IR after passes, remarks, failures."""

import pytest
from sample_modules import BODILESS, EXCHANGE

from moe_mlir import compiler
from moe_mlir.compiler import CompileError, OptionError, PassManager


def test_pipeline_changes_the_module(module):
    module.run(
        "one-shot-bufferize{bufferize-function-boundaries},moe-plan,"
        "moe-place-symmetric-buffers,convert-moe-to-symm"
    )
    assert module.walk("moe.alltoallv") == []
    assert module.walk("symm.collective_begin")
    module.verify()


@pytest.mark.parametrize(
    "pipeline", ["moe-plan{target=cuda}", " builtin.module( moe-plan{target=cuda} )"]
)
def test_anchor_may_be_written(module, pipeline):
    run = module.run(pipeline)
    assert [timing.pass_name for timing in run.timings] == ["moe-plan"]
    assert "#moe.kernel" in str(module)


def test_pass_manager_runs_on_many_modules():
    manager = PassManager("moe-plan{target=cuda}")
    assert str(manager).startswith("builtin.module(moe-plan{blocks=0 chip=sm_90 ")
    for _ in range(2):
        module = compiler.parse(EXCHANGE)
        manager.run(module)
        assert "#moe.kernel" in str(module)


def test_ir_after_passes(module):
    run = module.run(
        "func.func(canonicalize,cse),moe-plan{target=cuda}", print_after=["cse", "moe-plan"]
    )
    assert [(dump.pass_name, dump.op) for dump in run.ir] == [
        ("cse", "func.func"),
        ("moe-plan", "builtin.module"),
    ]
    assert "#moe.kernel" not in run.ir[0].text
    assert "#moe.kernel" in run.ir[1].text
    assert run.ir[1].text == str(module)


def test_ir_after_all_passes(module):
    run = module.run("canonicalize,moe-plan", print_after=["all"])
    assert [dump.pass_name for dump in run.ir] == ["canonicalize", "moe-plan"]


def test_timings_are_of_each_pass(module):
    run = module.run("func.func(canonicalize),cse")
    assert [(t.pass_name, t.op) for t in run.timings] == [
        ("canonicalize", "func.func"),
        ("cse", "builtin.module"),
    ]
    assert all(0 < t.seconds < 60 for t in run.timings)


def test_remarks_say_what_was_chosen(module):
    copy = module.clone()
    run = module.run("moe-plan{target=cuda}", remarks="moe-plan")
    assert len(run.remarks) == 1
    remark = run.remarks[0]
    assert remark.severity == "remark"
    assert str(remark.location) == "exchange.mlir:4:15"
    assert "alltoallv moves rows by stores" in remark.message
    # Nobody asked for them in the same context.
    assert copy.clone().run("moe-plan{target=cuda}").remarks == []
    assert copy.clone().run("moe-plan{target=cuda}", remarks="other").remarks == []
    assert copy.run("moe-plan{target=cuda}", remarks=".*").remarks == [remark]


def test_a_pass_that_fails():
    module = compiler.parse(BODILESS, filename="m.mlir")
    with pytest.raises(CompileError) as error:
        module.run(
            "canonicalize,moe-prepare-entries,moe-check-entries,cse",
            print_after=["canonicalize", "moe-check-entries", "cse"],
        )
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.op == "func.call"
    assert str(diagnostic) == (
        "m.mlir:3:3: error: 'func.call' op expects 'g' to have a body\n"
        "m.mlir:1:1: note: declared here"
    )
    run = error.value.passes
    assert run is not None
    assert run.timings[-1].pass_name in ("moe-prepare-entries", "moe-check-entries")
    assert run.ir[0].pass_name == "canonicalize"
    assert "cse" not in [timing.pass_name for timing in run.timings]
    # The module is still there.
    assert module.walk("func.call")


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("no-such-pass", "'no-such-pass' does not refer to a registered pass or pass pipeline"),
        ("moe-plan{color=red}", "no such option color"),
        ("moe-plan{blocks=x}", "failed to add `moe-plan` with options `blocks=x`"),
        ("moe-plan,(", "encountered unbalanced parentheses while parsing pipeline"),
    ],
)
def test_wrong_pipelines(pipeline, message):
    with pytest.raises(OptionError) as error:
        PassManager(pipeline)
    text = str(error.value)
    assert text.startswith(f"error: pipeline '{pipeline}': ") and message in text
    assert isinstance(error.value, ValueError)


def test_print_after_expects_a_pass_of_the_pipeline(module):
    with pytest.raises(OptionError) as error:
        module.run("canonicalize{max-iterations=3},cse", print_after=["canon"])
    assert str(error.value).startswith(
        "error: 'print_after' expects passes of the pipeline, or 'all', got 'canon'; the "
        "pipeline is builtin.module(canonicalize{"
    )


def test_remarks_expect_a_regular_expression(module):
    with pytest.raises(OptionError) as error:
        module.run("cse", remarks="(")
    assert str(error.value) == "error: 'remarks' expects a regular expression, got '('"


def test_empty_pipeline_changes_nothing(module):
    before = str(module)
    assert module.run("").timings == []
    assert str(module) == before
