//! How long requests took, in buckets that double.

use super::Counter;

/// 1.024 µs, 2.048 µs and so on to 4.3 s; the last bucket has the rest.
const BUCKETS: usize = 24;

#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    nanos: Counter,
}

impl Histogram {
    /// `count` requests that took `nanos` each.
    #[inline]
    pub fn record(&self, nanos: u64, count: u64) {
        let bits = usize::try_from(u64::BITS - (nanos >> 10).leading_zeros()).unwrap_or(0);
        self.buckets[bits.min(BUCKETS - 1)].add(count);
        self.nanos.add(nanos.saturating_mul(count));
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::value).sum()
    }

    pub fn seconds(&self) -> f64 {
        self.nanos.value() as f64 / 1e9
    }

    pub fn add(&self, other: &Self) {
        for (bucket, more) in self.buckets.iter().zip(&other.buckets) {
            bucket.add(more.value());
        }
        self.nanos.add(other.nanos.value());
    }

    /// Upper bound in seconds, and the count of each bucket.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bound = |index: usize| match index {
            last if last == BUCKETS - 1 => f64::MAX, // how the encoder wants to be told of infinity
            index => (1024u64 << index) as f64 / 1e9,
        };
        self.buckets.iter().enumerate().map(|(index, bucket)| (bound(index), bucket.value())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_below_its_bound() {
        for (nanos, bound) in [(0, 1024e-9), (1023, 1024e-9), (1024, 2048e-9), (1_000_000, 1.048_576e-3)] {
            let histogram = Histogram::default();
            histogram.record(nanos, 3);
            let full: Vec<_> = histogram.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
            assert_eq!(full, [(bound, 3)], "{nanos}");
        }
    }

    #[test]
    fn nothing_is_too_long_to_be_counted() {
        let histogram = Histogram::default();
        histogram.record(u64::MAX, 1);
        assert_eq!(histogram.buckets()[BUCKETS - 1], (f64::MAX, 1));
        assert_eq!(histogram.count(), 1);
    }
}
