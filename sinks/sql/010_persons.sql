-- What an erasure needs: decisions name the person (a keyed hash), and each erasure leaves a proof.

ALTER TABLE guardrail_decisions ADD COLUMN user_id text;
CREATE INDEX guardrail_decisions_by_person ON guardrail_decisions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX alerts_by_event ON alerts (event_uid);

CREATE TABLE erasure_proofs (
    proof_uid text        PRIMARY KEY,
    person    text        NOT NULL,
    erased_at timestamptz NOT NULL,
    asked_by  text        NOT NULL,
    proof     text        NOT NULL,
    mark      bytea       NOT NULL
);
COMMENT ON TABLE erasure_proofs IS 'What was found of a person and what became of it, as JSON text; mark is an HMAC of it under the hash key.';
