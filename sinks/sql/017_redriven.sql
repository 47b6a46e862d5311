-- A dead letter of a redriven record points to the original.

ALTER TABLE dead_letters ADD COLUMN redriven_from bigint;
