//! The client's task records on sled: small records only, flushed on each put.
