"""Layouts: places, fingerprints, checksums."""

from itertools import pairwise

import numpy as np
import pytest

from trader.codes import Role
from trader.state.layout import (
    LINE_WORDS,
    SlotSpec,
    _place,
    checksum,
    checksum_weights,
    segment_layout,
)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("n_symbols", [0, 1, 7, 500])
def test_layout_of_every_role_places_nothing_over_another(role, n_symbols):
    """Everything has lines of its own, within the segment."""
    layout = segment_layout(role, n_symbols)
    spans = [(word.offset, word.offset + 1) for word in layout.words.values()]
    for slot in layout.slots.values():
        spans.append((slot.offset, slot.offset + 1))
        spans += [(slot.copy_offset(which), slot.copy_offset(which) + 2 + slot.payload) for which in (0, 1)]
    for ring in layout.rings.values():
        spans.append((ring.offset, ring.offset + 1))
        spans.append((ring.entries_offset, ring.entries_offset + ring.capacity * ring.entry_words))
    spans.sort()
    assert all(start % LINE_WORDS == 0 for start, _ in spans)
    assert all(end <= following for (_, end), (following, _) in pairwise(spans))
    assert spans[-1][1] <= layout.total_words


def test_layout_fingerprint_differs_between_roles_and_sizes():
    """Another role or number of symbols is another layout."""
    prints = {segment_layout(role, 3).fingerprint for role in Role} | {segment_layout(Role.ENGINE, 4).fingerprint}
    assert len(prints) == len(Role) + 1


def test_layout_record_of_odd_size_is_refused():
    """A record that is no whole number of words can not travel."""
    with pytest.raises(ValueError, match="12 bytes"):
        _place((SlotSpec("odd", (("odd", np.dtype([("a", "i8"), ("b", "i4")]), 1),)),))


def test_checksum_opposite_and_exchanged_changes_are_noticed():
    """A plain sum would miss cash going down by what a position goes up."""
    weights = checksum_weights(6)
    words = np.array([100, 200, 300, 0, 0, 7], np.uint64)
    base = checksum(4, words, weights)
    moved, exchanged = words.copy(), words.copy()
    moved[0] -= np.uint64(50)
    moved[1] += np.uint64(50)
    exchanged[[0, 1]] = exchanged[[1, 0]]
    assert len({base, checksum(4, moved, weights), checksum(4, exchanged, weights), checksum(5, words, weights)}) == 4
