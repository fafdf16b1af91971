CREATE SCHEMA test;
CREATE TABLE test.clock (ahead interval NOT NULL);
INSERT INTO test.clock VALUES ('0');
CREATE OR REPLACE FUNCTION aplomb.clock() RETURNS timestamptz LANGUAGE sql VOLATILE
AS 'SELECT clock_timestamp() + (SELECT ahead FROM test.clock)';
