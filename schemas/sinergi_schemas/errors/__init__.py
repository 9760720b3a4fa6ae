"""All errors, in one tree. The base of an error is its policy: what is done about it.

    SinergiError
    ├── Refused           the caller mends it; nothing was done             (exit status 2)
    │   ├── EventRefused …        an event that must not go onto the bus
    │   ├── RowsRefused …         an event that goes to quarantine, alone
    │   └── SettingsRefused …     a file, flag or setting that cannot be used
    ├── Unavailable       tried again, for ever, by every running process
    │   ├── ServiceAway …         it does not answer: BrokerAway, TopicAway, DatabaseAway
    │   └── NotPermitted …        it answers, and its operator has to mend something first
    ├── Broken            groups the next two; it is never raised or caught itself
    │   ├── TopicHalted           one topic-partition stands still and is looked at again
    │   │   └── SealBroken …          the topic is not what its owner sealed: note, signature,
    │   │                             origin, gap, mismatch, missing tail, fork
    │   └── Fatal                 this process cannot work, and ends    (exit status 2)
    │       └── DatabaseBroken …      a table, a column or a privilege is missing
    └── Superseded        another process took over; what is in hand is dropped
        ├── LeaseLost             another relay leads
        └── PositionLost          another materialiser writes the topic-partition

Each module holds the errors of one subject. `policies` has the bases, and says how a message is
written. Two more modules of the same tree are `sinergi.local.errors`, for Kafka and PostgreSQL on
one machine, and `sinergi.demo.errors`.
"""

from sinergi_schemas.errors.archives import *  # noqa: F403 - every class of the tree stands here too
from sinergi_schemas.errors.database import *  # noqa: F403 - as above
from sinergi_schemas.errors.events import *  # noqa: F403 - as above
from sinergi_schemas.errors.evidence import *  # noqa: F403 - as above
from sinergi_schemas.errors.files import *  # noqa: F403 - as above
from sinergi_schemas.errors.kafka import *  # noqa: F403 - as above
from sinergi_schemas.errors.materialising import *  # noqa: F403 - as above
from sinergi_schemas.errors.policies import *  # noqa: F403 - as above
from sinergi_schemas.errors.publishing import *  # noqa: F403 - as above
from sinergi_schemas.errors.seal import *  # noqa: F403 - as above
from sinergi_schemas.errors.settings import *  # noqa: F403 - as above
