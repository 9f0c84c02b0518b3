mod breaker;
mod source;
mod topology;
