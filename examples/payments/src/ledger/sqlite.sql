CREATE TABLE accounts (
    id       TEXT    NOT NULL PRIMARY KEY,
    caller   TEXT    NOT NULL,
    owner    TEXT    NOT NULL,
    currency TEXT    NOT NULL,
    balance  INTEGER NOT NULL CHECK (balance >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE deposits (
    account TEXT    NOT NULL REFERENCES accounts (id),
    amount  INTEGER NOT NULL CHECK (amount > 0)
) STRICT;

-- Identifiers increase with time, so they are also the order of the list. The owner of an account never changes,
-- so `payer` and `payee`, the callers who own the two accounts, are stored with the payment.
CREATE TABLE payments (
    id           TEXT    NOT NULL PRIMARY KEY,
    from_account TEXT    NOT NULL REFERENCES accounts (id),
    to_account   TEXT    NOT NULL REFERENCES accounts (id),
    payer        TEXT    NOT NULL,
    payee        TEXT    NOT NULL,
    amount       INTEGER NOT NULL CHECK (amount > 0),
    refunded     INTEGER NOT NULL DEFAULT FALSE CHECK (refunded IN (FALSE, TRUE)),
    CHECK (from_account <> to_account)
) STRICT, WITHOUT ROWID;

CREATE INDEX payments_by_payer ON payments (payer, id);
CREATE INDEX payments_by_payee ON payments (payee, id);
CREATE INDEX payments_by_from ON payments (from_account, id);
CREATE INDEX payments_by_to ON payments (to_account, id);

-- The reference is the idempotency key of the transfer at the bank.
CREATE TABLE payouts (
    reference TEXT    NOT NULL PRIMARY KEY,
    account   TEXT    NOT NULL REFERENCES accounts (id),
    iban      TEXT    NOT NULL,
    amount    INTEGER NOT NULL CHECK (amount > 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE statements (
    account TEXT    NOT NULL REFERENCES accounts (id),
    number  INTEGER NOT NULL,
    balance INTEGER NOT NULL,
    PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE health_checks (padding BLOB NOT NULL) STRICT;
