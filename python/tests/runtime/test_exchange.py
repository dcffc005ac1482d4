"""A compiled exchange on thread ranks, against a dense reference."""

import numpy as np

from moe_mlir.runtime import run_local

F32 = np.float32
RANKS, EXPERTS, TOKENS = 3, 6, 8


def draw(seed: int):
    """Random tokens and experts of all ranks; some ranks have none."""
    random = np.random.default_rng(seed)
    ranks = []
    for _ in range(RANKS):
        tokens = int(random.integers(0, TOKENS + 1))
        x = random.integers(-8, 8, (tokens, 4)).astype(F32)
        idx = random.integers(-1, EXPERTS, (tokens, 2)).astype(np.int32)
        ranks.append((x, idx, np.ones((tokens, 2), F32)))
    return ranks


def reference(given):
    """Each token once for every rank that one of its experts lives on."""
    x, idx, _ = given
    owners = [{int(e) // (EXPERTS // RANKS) for e in row if e >= 0} for row in idx]
    factors = np.array([len(ranks) for ranks in owners], F32).reshape(-1, 1)
    return x * factors, owners


def test_exchange_equals_the_reference(exchange):
    seed = int(np.random.SeedSequence().entropy % 1_000_000)
    print(f"seed {seed}")
    inputs = [draw(seed + i) for i in range(20)]

    def main(group):
        entry = group.load(exchange)["exchange"]
        results = []
        for ranks in inputs:
            given = ranks[group.rank]
            out, received = entry(*given)
            assert isinstance(out, np.ndarray)
            assert out.flags.owndata
            # The same bits where the caller gives the memory.
            mine = np.full_like(out, 99), np.full_like(received, 99)
            entry.into(mine, *given)
            assert mine[0].tobytes() == out.tobytes()
            assert mine[1].tobytes() == received.tobytes()
            results.append((out, received))
        return results

    found = run_local(RANKS, main)
    for number, ranks in enumerate(inputs):
        owners = [reference(given)[1] for given in ranks]
        for rank, given in enumerate(ranks):
            out, received = found[rank][number]
            np.testing.assert_array_equal(out, reference(given)[0], err_msg=f"seed {seed}")
            counts = [sum(rank in token for token in owners[source]) for source in range(RANKS)]
            assert received.tolist() == counts, f"seed {seed}"
