DROP INDEX external_payments_open;
