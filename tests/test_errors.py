"""An error says what is wrong and what to do."""

import pytest

from harness.errors import NanoR1Error


class Broken(NanoR1Error):
    advice = "try again"


def test_advice_follows_the_message():
    assert str(NanoR1Error("it is gone")) == "it is gone"
    assert str(NanoR1Error("it is gone", advice="look elsewhere")) == "it is gone; look elsewhere"
    assert str(Broken("it is gone")) == "it is gone; try again"
    assert str(Broken("it is gone", advice="look elsewhere")) == "it is gone; look elsewhere"


def test_it_is_a_value_error_with_an_exit_code():
    with pytest.raises(ValueError, match="gone") as caught:
        raise Broken("it is gone")
    assert caught.value.exit_code == 2
