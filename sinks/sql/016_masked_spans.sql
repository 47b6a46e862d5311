-- What was masked where in an event that policy decided about: [{"entity": ..., "column": ..., "path": ..., "score": ..., "recogniser": ...}, ...], never a
-- value. For all other events the topic enriched_events has it; events themselves do not come here.

ALTER TABLE guardrail_decisions ADD COLUMN masked_spans jsonb;
COMMENT ON COLUMN guardrail_decisions.masked_spans IS 'What was masked where: entity, column, path, score, recogniser; null where nothing was.';
