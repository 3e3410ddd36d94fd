//! Sets of Unicode characters as ascending, separate ranges.

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CharSet {
    ranges: Vec<(u32, u32)>, // inclusive
}

const LAST: u32 = char::MAX as u32;
const SURROGATES: (u32, u32) = (0xD800, 0xDFFF);

impl CharSet {
    pub fn from_ranges(mut ranges: Vec<(u32, u32)>) -> CharSet {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        CharSet { ranges: merged }.without_surrogates()
    }

    fn without_surrogates(self) -> CharSet {
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        for (low, high) in self.ranges {
            if low < SURROGATES.0 {
                ranges.push((low, high.min(SURROGATES.0 - 1)));
            }
            if high > SURROGATES.1 {
                ranges.push((low.max(SURROGATES.1 + 1), high));
            }
        }
        CharSet { ranges }
    }

    pub fn any() -> CharSet {
        CharSet::from_ranges(vec![(0, LAST)])
    }

    pub fn negated(&self) -> CharSet {
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        let mut next = 0;
        for &(low, high) in &self.ranges {
            if low > next {
                ranges.push((next, low - 1));
            }
            next = high + 1;
        }
        if next <= LAST {
            ranges.push((next, LAST));
        }
        CharSet { ranges }.without_surrogates()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn overlaps(&self, other: &CharSet) -> bool {
        let (mut i, mut j) = (0, 0);
        while i < self.ranges.len() && j < other.ranges.len() {
            let (a, b) = (self.ranges[i], other.ranges[j]);
            if a.0 <= b.1 && b.0 <= a.1 {
                return true;
            }
            if a.1 < b.1 {
                i += 1;
            } else {
                j += 1;
            }
        }
        false
    }

    pub fn union<'a>(sets: impl Iterator<Item = &'a CharSet>) -> CharSet {
        CharSet::from_ranges(sets.flat_map(|set| set.ranges.iter().copied()).collect())
    }

    #[cfg(test)]
    pub fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|&(low, high)| (low..=high).contains(&(c as u32)))
    }

    /// "[\x{61}-\x{7A}]"
    pub fn to_regex(&self) -> String {
        let part = |&(low, high): &(u32, u32)| match low == high {
            true => format!("\\x{{{low:X}}}"),
            false => format!("\\x{{{low:X}}}-\\x{{{high:X}}}"),
        };
        format!("[{}]", self.ranges.iter().map(part).collect::<String>())
    }
}
