REVOKE ALL ON FUNCTION sinergi_consumer.release_datum FROM PUBLIC;
