//! The consumer and the outbox against a node that is made of answers.
