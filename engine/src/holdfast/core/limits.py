"""Every limit and every pace of the engine, with its unit last in the name.

Knows: numbers. Here stands what bounds memory, disk, time or traffic, and how work is cut up:
pages, bites, polls, back-off. Not here, but where it is used: what a format or an algorithm fixes
(widths of hashes, format numbers, status codes, the arithmetic of clocks and back-off) and how
units convert. A test knows those by name, and finds every other number.
Upholds I31: memory, disk and time are bounded by configuration, not by data or peer.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# What travels up
REQUEST_BODY_BYTES_MAX = 32 * MIB
"""A request body after decompression."""
REQUEST_COMPRESSED_BYTES_MAX = 16 * MIB
COMPRESSION_RATIO_MAX = 200
"""Decompressed to compressed; above it (and above 64 KiB) a body counts as a bomb."""
ZSTD_WINDOW_LOG_MAX = 23
"""8 MiB: what a zstd frame may ask for in memory to be unpacked."""
JSON_DEPTH_MAX = 32
JSON_VALUES_MAX = REQUEST_BODY_BYTES_MAX // 8
"""Values in one body: what a parser makes of many tiny ones is far larger than the body."""
PUSH_TRANSACTIONS_MAX = 1000
PUSH_CHANGES_MAX = 10_000
"""Soft: a batch is closed when it has reached this; one larger transaction travels alone."""
PUSH_BYTES_SOFT = 4 * MIB
PUSH_BITE_CHANGES = 500
"""Changes that the server decides in one commit, some 50 ms; then others have their turn. A larger
transaction is a bite of its own, decided before its commit begins."""
REHEARSALS_MAX = 3
"""How often a large transaction is decided ahead, when others change what it touches meanwhile;
then it is decided while they wait."""
NOT_TAKEN_IN_MAX = 3
"""A push meets rows that were written directly; so often they are taken in, and it begins again."""
PUSH_WORK_CHANGES_MAX = 20_000
"""Changes that the server decides for one request, those decided twice counted twice; the answer
tells the outcomes so far, and the device sends the rest with its next exchange."""
TRANSACTION_CHANGES_MAX = 50_000
TRANSACTION_BYTES_MAX = 16 * MIB
"""One transaction as it travels; a larger one is refused (``too_large``) and kept on the device."""
SPLIT_PARTS = 32
"""Of a group of other programs' writes that is refused: one bad row among 30,000 is alone after
three rounds, and costs a hundred transactions."""
SCOPES_MAX = 1000
VERIFY_RANGES_MAX = 256
VERIFY_ROWS_MAX = 4096
VERIFY_LEAF_ROWS_MAX = 64
VERIFY_SCAN_ROWS_MAX = 100_000
"""Rows that the server looks at for the ranges of one request, about 0.2 s; the rest is asked for
with the next one."""
VERIFY_CHILDREN = 16
VERIFY_ROUNDS_MAX = 24
VERIFY_CONTINUED_MAX = 10_000
"""Round trips that only go on with what a server has not looked at before."""

# Before a request's body
HEAD_BYTES_MAX = 16 * KIB
"""Request line and headers together; nginx takes twice that, our own clients send below 1 KiB."""
HEADERS_MAX = 100
HEAD_TIMEOUT_MS = 20_000
"""From the start of a connection, or the first byte of a later request, to its last header."""
ADDRESS_REQUESTS_BURST = 10_000
"""Requests of one address in a row; then one each ``ADDRESS_REQUEST_EVERY_MS``. A whole shop is
often one address, and all of it comes at once when one thing has changed."""
ADDRESS_REQUEST_EVERY_MS = 2
DEVICE_REQUESTS_BURST = 2_000
"""Requests of one device in a row; then one each ``DEVICE_REQUEST_EVERY_MS``."""
DEVICE_REQUEST_EVERY_MS = 5
DEVICES_PER_USER_MAX = 1_000
"""Devices of one user that may sync; those revoked do not count."""
EPOCH_REVISIONS = 1 << 22
"""Revisions of a row in an epoch of a server: in the next one its count begins above that, so that
no revision that was lost with a restored database is given again."""
DEVICE_REPLICAS_MAX = 10_000
"""Replicas of one device, over all time: each copy and each restored file becomes one."""
REPLICAS_LISTED_MAX = 20
"""Replicas of a device that a list of devices tells of, those that were heard last."""
REPLICA_ORIGINS_MAX = 16
"""So many times in a row a replica may have come out of another before what is offered again is not
looked for any further."""
PIPELINED_REQUESTS_MAX = 16
"""Requests of one connection that wait for the answer before them."""
SMALL_BODY_DEADLINE_MS = 20_000
"""For a body that anybody may send: enrolling, refreshing, signing out."""
STALLED_READER_MS = 60_000
"""How long a connection may take nothing of an answer."""
CONNECTIONS_MAX = 8_192
"""Of a process, where its limit of open files allows: two thousand devices have two each."""
CONNECTIONS_PER_ADDRESS_SHARE = 2
"""One address gets one in so many of them: a whole shop is often one address."""
TLS_WAITING_MAX = 512
"""Connections that have not said yet whether they are TLS, or are in the midst of its handshake;
with more of them, who has been so for longest goes."""
TLS_FIRST_BYTE_MS = 10_000
TLS_HANDSHAKE_MS = 10_000
ACCEPT_PAUSE_MS = 500
"""After a connection could not be accepted, mostly for want of a descriptor."""
TLS_POLL_MS = 20
"""Between two looks for a first byte, where a loop does not tell of it."""
CERTIFICATE_LOOK_MS = 60_000
"""Between two looks for a newer certificate."""
DESCRIPTORS_KEPT_MIN = 64
DESCRIPTORS_KEPT_SHARE = 4
"""Of the open files a process may have, one in so many is kept for the database and files."""
DESCRIPTORS_FEW = 256
"""A process that may open fewer files says so when it begins to serve."""
DESCRIPTORS_SPARE = 8
"""So many are left when a connection is refused for the want of them."""
REFUSALS_LINGERING_MAX = 32
"""Connections that are being told why they are refused; further ones are only closed."""
REFUSAL_LINGER_MS = 1_000

# What comes down
RESPONSE_BYTES_MAX = 4096 * MIB
RESPONSE_LINE_BYTES_MAX = 64 * MIB
RESPONSE_MEMORY_BYTES_MAX = 8 * MIB
"""A response larger than this is spooled to a temporary file."""
ANSWER_HOLD_MS = 10_000
"""How long an answer may hold its snapshot of the database while it is read; then the rest of it
goes to a temporary file."""
ANSWER_HOLD_WANTED_MS = 1_000
"""The same, when another answer waits for its place."""
ANSWER_SPOOL_BYTES_MAX = 256 * MIB
"""What is left of such an answer, as it is sent; a larger one is broken off."""
ANSWER_SPOOLS_MAX = 32
"""Such answers at the same time in a process; more are broken off."""
ANSWER_SPOOLS_PER_DEVICE_MAX = 4
"""Of them, of one device."""
ANSWERS_OPEN_MAX = 8
"""Of a server process: answers that hold a snapshot of the database; further ones wait before they
open theirs. Fewer than ``DATABASE_CONNECTIONS_MAX``: sign-ins, files and maintenance read, too."""
ANSWERS_PER_DEVICE_MAX = 2
"""Of them, of one device."""
ROWS_PER_LINE = 500
GZIP_FLOOR_BYTES = 320
"""Smaller bodies travel as they are; an exchange without work is above it both ways, and shrinks by
a quarter."""

# Files: first loads and catch-ups that are too large for an answer
SNAPSHOT_ROWS_MIN = 20_000
"""A scope with so many rows is offered as a file to a device that has none of them."""
CATCHUP_ROWS_MIN = 50_000
"""So many changed rows come as a file, to a device that can take files."""
CATCHUP_BYTES_MIN = 16 * MIB
"""The same for changed rows that are few but large; about."""
SNAPSHOT_REFRESH_SHARE = 8
"""When more than one in so many rows of a scope has moved since its file, a new one is made."""
SNAPSHOT_OFFER_SHARE = 2
"""When more than one in so many has, the old one is not offered meanwhile."""
SNAPSHOT_KEEP_S = 24 * 3600
CATCHUP_KEEP_S = 3600
FILE_LINK_S = 900
"""How long the path of a file is good, at least; at most twice that."""
FILES_BYTES_MAX = 64 * 1024 * MIB
"""All files of a database together."""
FILE_BUILDERS_MAX = 2
"""Files that a process makes at the same time; each has a snapshot of the database open."""
FILE_BUILDS_WAITING_MAX = 256
FILE_FAILED_S = 300
"""How long a file that could not be made is not tried again; rows come in answers meanwhile."""
FILE_RETRY_MS_MIN = 200
FILE_RETRY_MS_MAX = 5_000
"""When a device is asked to come again for a file that is being made."""
FILE_DOWNLOADS_MAX = 256
"""Open at the same time in a process."""
FILE_DOWNLOADS_PER_ADDRESS_MAX = 64
"""Of them, from one address: a path says nothing of who has it."""
FILE_DOWNLOAD_WAIT_MS = 10_000
"""How long a further one waits for its turn before it is asked to come again."""
FILE_READERS_MAX = 4
"""Pieces of files that a process reads at the same time."""
FILE_CACHE_S = 900
"""How long a proxy or browser may keep a file."""
FILE_UNPACKED_BYTES_MAX = 16 * 1024 * MIB
FILE_ABANDONED_S = 3600
"""What is left of a crash is removed when it is as old as this."""
FILE_PIECE_BYTES = 256 * KIB
"""How much of a file is in memory at a time."""
FILE_PIECES_AHEAD_MAX = 8
"""Pieces of a file that have come and wait to be unpacked."""
FILE_FETCH_BYTES_SOFT = 4 * MIB
"""Values that are read at a time from the database while a file is made."""
FILES_AT_ONCE_MAX = 8
"""Files that a device imports in one transaction; what is more comes as rows of the answer."""
FILE_GAIN_BYTES_MIN = 256 * KIB
"""A download that was cut goes on at once when it has brought so much, else after a back-off. As
each request has its deadline, this is also the least rate."""
FILE_ROUNDS_MAX = 32
"""How often an exchange is repeated for files that were not there any more; then for rows."""
LOAD_PLACES_MAX = 8
"""Places that loads have reached, which a session remembers: each has stages, and several files."""
FILE_BUILD_PATIENCE_MS = 600_000
"""How long a device waits for a file that grows no further; then it asks for rows."""
FILE_AGAIN_MS = 100
FILE_WAIT_MS_MAX = 30_000
"""Least and most that a device waits before it asks for a file again."""
FILE_SPACE_SHARE = 3
"""Free disk that an import needs, in sizes of the unpacked files: log, tables and their keys."""
IMPORT_ROWS_PER_STEP = 25_000
"""Rows that one statement imports; after each, progress is told."""

# Quotas of a server, unless it says otherwise
SCOPE_ROWS_MAX = 20_000_000
"""Rows that a scope may hold; what would add more is refused (``quota_rows``)."""
SCOPE_BYTES_MAX = 16 * GIB
"""Bytes of all rows of a scope; what would add more is refused (``quota_bytes``)."""
DEVICE_BYTES_PER_DAY_MAX = 8 * GIB
USER_BYTES_PER_DAY_MAX = 32 * GIB
"""What a device, and all devices of a user, may send up within a day; more waits (429)."""
ROW_BYTES_MAX = 8 * MIB
"""All values of a row together; a larger one is refused (``quota_row_bytes``), by a replica
at its commit."""

# Names and values
IDENTIFIER_LENGTH_MAX = 60
TABLES_MAX = 200
COLUMNS_MAX = 200
FILL_LENGTH_MAX = 2000
"""Of the expression that fills a new column, characters."""
SCHEMA_CHECK_KEYS_MAX = 5
"""Keys that are named of the rows in the way of a new constraint."""
KEY_BYTES_MAX = 1024
TEXT_BYTES_MAX = 4 * MIB
SET_BYTES_MAX = MIB
"""Of a ``set`` column: what a change says of it, with all it adds and removes, is a text too."""
JSON_NESTING_MAX = 512
"""Arrays and objects within each other, in a value of type ``json``: every side reads that deep."""
SCOPE_NAME_LENGTH_MAX = 200
DECIMAL_DIGITS_MAX = 30
DEVICE_NAME_LENGTH_MAX = 200
INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1
TIMESTAMP_US_MAX = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z."""
TIMESTAMP_US_MIN = -62_135_596_800_000_000
"""0001-01-01T00:00:00Z."""
WIRE_INTEGER_MAX = 2**53 - 1
"""Integers of the protocol itself (revisions, versions, times) stay exact in JavaScript."""

# Time
CONNECT_TIMEOUT_MS = 10_000
READ_TIMEOUT_MS = 60_000
"""Between two pieces of a body; with it, the least rate a server may keep up."""
REQUEST_DEADLINE_MS = 600_000
EVENT_HEARTBEAT_MS = 10_000
EVENT_STREAMS_PER_DEVICE_MAX = 4
FOREIGN_WRITE_POLL_MS = 200
CHANGED_KEYS_MAX = 10_000
"""Keys of a table that are kept for who reads its changes; beyond that only that it changed."""
BUSY_TIMEOUT_MS = 30_000
BUSY_SLICE_MS_MAX = 100
"""How long a wait for a lock goes on without asking whether it is still wanted."""
SYNC_BEAT_MS = 5_000
"""How often the process that syncs a replica gives a sign of life."""
SYNC_TURN_MS = 300
"""How often a background sync asks whether it is its turn, while another process syncs."""
SYNC_SILENT_MS = 60_000
"""After so long without one it is said to stand still."""
SYNC_REVIVED_MS = 60_000
"""Background sync that has gone on for so long since it failed in an unforeseen way has recovered:
the back-off begins anew."""
END_GRACE_MS = 4_000
"""From a signal to the end of a command, whatever it waits for; what is not done is undone, as
after a kill."""
RETRY_AFTER_MS_MAX = 24 * 3600 * 1000
JOURNAL_RETENTION_DAYS = 30
REMOVALS_RETENTION_DAYS = 180
"""Of removals and of positions: longer than a season's closure. A device that was away for longer
costs a few round trips more, and loses nothing; a busy scope takes some 100 bytes a commit."""
NUMBERS_RETENTION_DAYS = 400
"""Of what became of a transaction, once its device knows: a year, and a month to ask about it."""
MAINTENANCE_LOOK_MS = 30_000
"""How often a process asks whether a job of maintenance is due."""
RETENTION_EVERY_MS = 3600 * 1000
DEEP_CHECK_EVERY_MS = 24 * 3600 * 1000
SLOW_REQUEST_MS = 5_000
"""Slower ones are logged as warnings."""
READY_WAIT_MS = 1_000
"""For the database's writer, when it is asked whether the server is ready."""
GROW_WAIT_S = 3600
"""For another process that hashes the rows of tables that got columns."""
CHECK_BITE_ROWS = 2000
"""Rows looked at in one snapshot of a deep check, or hashed anew in one transaction."""
INGEST_BITE_ROWS = 1000
"""Rows written directly that are taken in in one transaction: a push waits for one such bite."""
INGEST_BETWEEN_BITES_MS = 5
"""A moment for others, between two such bites."""
INGEST_TURN_MS = 1_000
"""How long the watcher takes in such rows before it looks around."""
INGEST_PATIENCE_MS = 500
"""How long a request takes in what concerns it; then its device is asked to come again."""
INGEST_BACKGROUND_PATIENCE_MS = 600_000
"""The same of who makes a file or checks all rows."""
INGEST_COUNTED_MAX = 200_000
"""Such rows that are counted to tell a device how far it is."""
RETENTION_BITE_ROWS = 2000
"""Rows forgotten in one transaction: few enough that a push hardly waits."""
JOURNAL_PAGE_MAX = 1000
JOURNAL_PAGES_MAX = 10
"""Pages of 200 entries that are looked at for one request; the answer says where to go on."""
REQUESTS_WAITING_MAX = 2_048
"""Of a server process: when a shop's two thousand devices hear of one change, they all come at
once; to wait for a second costs less than to be sent away and come again."""
SERVER_THREADS = 8
"""That a server process works in for devices; beyond a few, they only wait for each other."""
THREADS_PER_DEVICE_MAX = 2
"""Of them, for one device: an exchange, and something beside it."""
WAITING_PER_DEVICE_MAX = 16
"""Requests of one device that may wait for a thread; more are sent away (``too_many_requests``)."""
SIGN_IN_THREADS = 2
"""In which a server process looks up who is asking."""
SEEN_INTERVAL_MS = 60_000
"""How often the server writes down that it has seen a device that only asks for news."""
SERVER_KEEP_ALIVE_S = 75
"""Longer than any client of ours keeps an idle connection, so that none is closed under a
request."""
SERVER_GRACE_S = 3
"""What requests under way get when the server is told to stop; then they are cut off, and devices
ask again."""
BODY_GRACE_MS = 1_000
"""What the rest of a request gets to arrive, when the server is told to stop."""
HOST_LOOK_MS = 200
"""How often a mounted server looks whether the process it is in has been told to stop."""

# SQLite
PAGE_CACHE_KIB = 16 * 1024
"""Of each connection: at SQLite's own 2 MiB, a batch of 10,000 rows spills and is read again."""
WAL_CHECKPOINT_PAGES = 4_000
"""16 MB: pages that every commit touches are copied and synced a quarter as often as at 1,000."""

KEPT_US = 7 * 86_400 * 1_000_000
"""Acknowledged work that no backup of the server has is given up after so long,"""
KEPT_BYTES_MAX = 64 * MIB
"""or beyond so much, the oldest first."""
KEPT_SAVED_US = 2 * 86_400 * 1_000_000
"""What a backup has is kept for so long, for an older one may be the one that is restored."""
KEPT_STEP_ROWS = 1_000
FORKS_IN_A_ROW_MAX = 3
"""A replica that is not recognised so often, with no answer in between, waits for a person."""
LOG_NOTES_MAX = 100_000
"""What a replica's log may hold before the commit that goes beyond it seals it, exchange or not."""
LOG_NOTES_SHOWN = 1_000
"""A longer log is sealed before the status of rows and transactions is told."""

# PostgreSQL
POSTGRES_VERSION_MIN = 15
DATABASE_CONNECTIONS_MAX = 12
"""Of a server process: for answers, and as many again for writes; two more listen and tell."""
DATABASE_WAIT_MS = 10_000
"""For a lock or a free connection; then the device is asked to come again."""
DATABASE_ATTEMPTS_MAX = 12
"""How often a transaction is begun again that met another one, or lost its connection."""
RELAY_POLL_MS = 1_000
"""How often a process looks for what others have committed, should a notification be lost."""

# People and devices
TOKEN_DAYS = 90
"""How long a device may be away before a person has to sign in on it again."""
TOKEN_REFRESH_DAYS = 30
"""From this age on a device asks for a new one."""
TOKEN_GRACE_DAYS = 30
"""How long a token is taken after its successor was made, while that one has never been used: the
answer that carried it may have been lost, and the device away since."""
CODE_MINUTES = 10
CODE_MINUTES_MAX = 24 * 60
CODES_PER_USER_MAX = 20
"""Codes of a user that wait to be used."""
PASSWORD_LENGTH_MIN = 12
PASSWORD_DISTINCT_MIN = 5
PASSWORD_OWN_MIN = 6
"""Different letters and digits that are left of a password without what is guessed first."""
PASSWORD_LENGTH_MAX = 1024
PASSWORD_MEMORY_KIB = 32 * 1024
"""Of each check; with three passes about 70 ms of one core."""
PASSWORD_CHECKS_MAX = 2
"""At the same time in a process."""
PASSWORD_WAIT_MS = 5_000
ENROL_BODY_BYTES_MAX = 16 * KIB
ENROL_THREADS = 2
ENROL_QUEUE_MAX = 32
"""Requests to enrol that may wait for a thread; the rest is asked to come again."""
ENROL_KNOCKS_BURST = 200
"""Requests to enrol of one address in a row, right or wrong; then one each
``ENROL_KNOCK_EVERY_MS``."""
ENROL_KNOCK_EVERY_MS = 300
ENROL_TRIES_BURST = 20
"""Failures of one address in a row; then one each ``ENROL_TRY_EVERY_MS``."""
ENROL_TRY_EVERY_MS = 3_000
ENROL_NAME_TRIES_BURST = 10
"""Failures for one user from one address, or for one code, in a row; then one each
``ENROL_NAME_TRY_EVERY_MS``."""
ENROL_NAME_TRY_EVERY_MS = 30_000
ENROL_ANYWHERE_TRIES_BURST = 500
"""For one user from all addresses together that it has never signed in from: far above what a
person does, far below what guessing needs."""
ENROL_ANYWHERE_TRY_EVERY_MS = 60_000
ENROL_KNOWN_ADDRESSES_MAX = 20_000
"""Pairs of a user and an address it has signed in from, which a process remembers."""
REFRESH_RETRY_MS = 600_000
"""How long a device waits with asking for a new token once it has asked."""
REFRESH_TRIES_BURST = 10
REFRESH_TRY_EVERY_MS = 60_000
RATE_KEYS_MAX = 20_000
"""Addresses and names that are remembered; the ones not seen for longest are forgotten first."""
CLOCK_LEEWAY_MS = 300_000
"""A server's clock may be set: a token is taken for so much longer."""
ROLES_MAX = 100
PEOPLE_PAGE_MAX = 1000
CLIENT_VERSION_LENGTH_MAX = 100

# How work is cut up, and how long is waited in between
# (what changes speed, and never what is true)
INGEST_ROWS_PER_MS = 15
"""About how quickly notes are taken in; for when to ask again."""
INGEST_SCOPES_APART_MAX = 16
"""Of more scopes in one bite it is not asked one by one whether the next bites concern them."""
REQUEST_DRAIN_MS = 2_000
ANSWER_BATCH_BYTES = 64 * KIB
FILE_SEND_BYTES = 64 * KIB
CONNECTION_PIECE_BYTES = 4096
CONNECTION_LOG_EVERY_S = 10.0
CATCHUP_SAMPLE_ROWS_MIN = 64
"""Fewer rows are never too large: each has a limit of its own."""
FILE_ROWS_PER_MS = 50
"""About how quickly a file is made; for when to ask again."""
SNAPSHOT_SECOND_LOOK_US = 60 * 1_000_000
"""A snapshot as young as this is not made anew because rows have left its scope."""
SNAPSHOT_SPLIT_ROWS_MIN = 8
FILE_TELL_ROWS = 10_000
MAINTENANCE_BETWEEN_BITES_MS = 5
"""A moment for others, between two bites of a long job."""
RETENTION_SCOPES_AT_ONCE = 50
PUSH_SLOWER_FACTOR = 8
"""What the number of transactions decided at once is divided by when the database objects."""
PUSH_WELL_GROUPS = 4
"""So many successes in a row double it: what a failure wastes is at most half of what went well."""
PUSH_BITE_WORK_SHARE = 3
"""A commit in which transactions failed ends with so many times the work of one where none did."""
POSTGRES_MOVES_MAX = 200
POSTGRES_MOVES_SCOPES_MAX = 16
"""Of so many scopes at once the first moves are read, so many of each."""
POSTGRES_FETCH_ROWS = 1000
POSTGRES_FETCH_BYTES_SOFT = 4 * MIB
POSTGRES_FETCH_ROWS_MIN = 8
POSTGRES_BACKOFF_MS = 5
POSTGRES_BACKOFF_MS_MAX = 500
POSTGRES_PAYLOAD_BYTES_MAX = 7000
"""PostgreSQL takes less than 8000."""
POSTGRES_LISTEN_S = 0.2
POSTGRES_LISTEN_RETRY_S = 1.0
READERS_IDLE_MAX = 4
TAKEN_NAMES_SHOWN_MAX = 5
STREAMS_REVIEWED_AT_ONCE = 2000
"""Streams whose devices are asked for in one read."""
RIGHTS_RETRY_S = 0.2
JOURNAL_SCAN_ENTRIES = 200
LINE_BYTES_SOFT = MIB
"""A line is closed when the values in it have reached this."""
UNPACK_PIECE_BYTES = 256 * KIB
COMPRESSION_RATIO_FLOOR_BYTES = 64 * KIB
PACK_OUTPUT_BYTES = 32 * KIB
STRICT_BLOCK_BYTES = 1024 * 1024
VALUES_AT_ONCE = 400
"""A statement that fires triggers may be taken back by itself, and SQLite prepares for that before
each: one for many rows costs a third of one for each."""
RESCUE_COPIES_MAX = 100
SALVAGES_MAX = 5
SALVAGE_PERIOD_US = 24 * 3600 * 1_000_000
"""How often a damaged file is salvaged without being asked, in this time: a disk that goes on
damaging it is to be looked at."""
DAMAGED_COPIES_MAX = 1000
"""Damaged files that are kept under one name in the same second."""
DAMAGED_VALUE_BYTES_MAX = GIB
"""A record in a damaged file that says to be larger is not one."""
DAMAGED_DEPTH_MAX = 40
"""Inner pages above one another in a damaged file; more go round in a circle."""
CREDENTIALS_BYTES_MAX = 65_536
FILE_TRIES_MAX = 2
"""A file that is damaged may be so on this disk, or in a cache: it is fetched once more."""
TRANSACTION_AROUND_BYTES = 4096
"""What a transaction has besides its changes, generously."""
CHAIN_PAGE_ROWS = 4
CHAIN_PAGE_ROWS_MAX = 256
"""Earlier changes of a row that are read at once."""
PUSH_STEP_TRANSACTIONS = 64
IDLE_CONNECTIONS_MAX = 4
IDLE_CONNECTION_S = 30.0
"""Shorter than a server keeps an idle connection, so that a request does not meet its end."""
SMALL_BODY_BYTES_MAX = 64 * KIB
OFFSET_SAMPLES_MAX = 8
STOP_POLL_S = 0.05
STATUS_TELL_MS = 50
LOCK_TRIES_MAX = 5
SYNC_LOCK_BYTES_MAX = 4096
LOCK_PAUSE_S = 0.02
"""Between tries: others look for a moment whether the lock is taken."""
FILLS_KEPT_MAX = 256
FILLED_ROWS_KEPT_MAX = 256
"""Rows with their fills that are kept for a table: a commit asks for each twice."""
KEYS_REMEMBERED_LENGTH_MAX = 200
KEYS_REMEMBERED_MAX = 1024
"""A row's scopes are asked for at every step, and many rows are in the same ones."""
ENROL_TIMEOUT_S = 60.0
PROCESS_PATIENCE_S = 3.0
"""How long the background process gets to try again before its last error counts."""
COMMAND_WAIT_S_MAX = 86_400
END_WAKE_S = 0.1
END_SLICE_S = 0.2
TOKEN_FILE_SETTLED_NS = 2_000_000_000
HOST_LOOKS_MAX = 5
"""How often all tasks are looked through for a server; after that only its signal handlers are."""
HOST_DEPTH_MAX = 30
EVENT_LINE_BYTES_MAX = 4096 + SCOPES_MAX * (4 * SCOPE_NAME_LENGTH_MAX + 32)
BACKUP_TELL_S = 0.2
"""Between two looks at how far a copy has come."""
BACKUP_PIECE_BYTES = 4 * MIB

# Trust
CERTIFICATE_BYTES_MAX = 1 * MIB
"""Of an authority's certificate that a replica is told to trust."""
