"""On its way out: the names of this module are in entries, errors, index, check, state and store."""

from harness.ledger.check import check as check
from harness.ledger.entries import Abandonment as Abandonment
from harness.ledger.entries import Announced as Announced
from harness.ledger.entries import Commitment as Commitment
from harness.ledger.entries import StatusChange as StatusChange
from harness.ledger.entries import fresh_id as fresh_id
from harness.ledger.entries import status_change as status_change
from harness.ledger.errors import LedgerError as LedgerError
from harness.ledger.index import HEAD as HEAD
from harness.ledger.index import TRUSTED as TRUSTED
from harness.ledger.index import Entry as Entry
from harness.ledger.index import make_checkpoint as make_checkpoint
from harness.ledger.index import read_file as read_file
from harness.ledger.state import State as State
from harness.ledger.store import Ledger as Ledger
