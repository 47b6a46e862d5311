-- Why a decision was made: places of what the rules found, and the keyed hash of the content that they saw. Never a value.

ALTER TABLE guardrail_decisions
    ADD COLUMN evidence     text,
    ADD COLUMN content_hmac text;
CREATE INDEX guardrail_decisions_by_content ON guardrail_decisions (content_hmac) WHERE content_hmac IS NOT NULL;
