CREATE TABLE accounts (
    id       TEXT COLLATE "C" PRIMARY KEY,
    caller   TEXT   NOT NULL,
    owner    TEXT   NOT NULL,
    currency TEXT   NOT NULL,
    balance  BIGINT NOT NULL CHECK (balance >= 0)
);

CREATE TABLE deposits (
    account TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    amount  BIGINT NOT NULL CHECK (amount > 0)
);

-- Identifiers increase with time, so they are also the order of the list. The owner of an account never changes,
-- so `payer` and `payee`, the callers who own the two accounts, are stored with the payment.
CREATE TABLE payments (
    id           TEXT COLLATE "C" PRIMARY KEY,
    from_account TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    to_account   TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    payer        TEXT    NOT NULL,
    payee        TEXT    NOT NULL,
    amount       BIGINT  NOT NULL CHECK (amount > 0),
    refunded     BOOLEAN NOT NULL DEFAULT FALSE,
    CHECK (from_account <> to_account)
);

CREATE INDEX payments_by_payer ON payments (payer, id);
CREATE INDEX payments_by_payee ON payments (payee, id);
CREATE INDEX payments_by_from ON payments (from_account, id);
CREATE INDEX payments_by_to ON payments (to_account, id);

-- The reference is the idempotency key of the transfer at the bank.
CREATE TABLE payouts (
    reference TEXT PRIMARY KEY,
    account   TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    iban      TEXT   NOT NULL,
    amount    BIGINT NOT NULL CHECK (amount > 0)
);

CREATE TABLE statements (
    account TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    number  BIGINT NOT NULL,
    balance BIGINT NOT NULL,
    PRIMARY KEY (account, number)
);

CREATE TABLE health_checks (padding BYTEA NOT NULL);
