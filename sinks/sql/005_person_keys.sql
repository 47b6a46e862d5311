-- Data keys of persons, each wrapped under a key that no database holds (sinks/person_keys.py). To destroy one shreds all that was sealed or hashed
-- under it. The mark of a destroyed key stays, so that a replay makes no new one.

CREATE SCHEMA IF NOT EXISTS vault;
REVOKE ALL ON SCHEMA vault FROM PUBLIC;

CREATE TABLE vault.person_keys (
    person       text        PRIMARY KEY,
    kid          text,
    wrapped      bytea,
    made_at      timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz,
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL) AND (wrapped IS NULL) = (kid IS NULL))
);
COMMENT ON TABLE vault.person_keys IS 'One wrapped data key a person, known by the keyed hash of the user id; NULL once destroyed.';
