-- What models said about an event that policy decided on. Null where nothing was scored; degraded names the models that were away.

ALTER TABLE guardrail_decisions
    ADD COLUMN injection_ppm bigint,
    ADD COLUMN jailbreak_ppm bigint,
    ADD COLUMN toxicity_ppm  bigint,
    ADD COLUMN scored_by     text,
    ADD COLUMN degraded      text[];
