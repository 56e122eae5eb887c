//! Small charts of bars, drawn here, each with a table that says the same.

use super::history::Minute;
use super::locale::Reader;
use crate::clock::Millis;

/// How high a chart is, in the units of its drawing.
const HEIGHT: u64 = 48;
/// How wide a bar is, with the gap behind it.
const STEP: usize = 10;
/// How many bars have room.
const BARS: usize = 60;

/// What a bar stands for.
const MINUTE: Millis = 60_000;

/// One bar.
pub(super) struct Bar {
    pub(super) x: usize,
    pub(super) y: u64,
    pub(super) height: u64,
    pub(super) at: Millis,
    pub(super) value: u64,
}

/// A chart.
pub(super) struct Chart {
    /// The key of its name.
    pub(super) key: &'static str,
    /// `bad` where less is better, else nothing.
    pub(super) tone: &'static str,
    pub(super) total: u64,
    pub(super) bars: Vec<Bar>,
    pub(super) width: usize,
    pub(super) height: u64,
}

impl Chart {
    /// Of what a number of each minute says.
    pub(super) fn of(
        key: &'static str,
        tone: &'static str,
        minutes: &[Minute],
        number: fn(&Minute) -> u64,
    ) -> Self {
        let highest = minutes.iter().map(number).max().unwrap_or(0).max(1);
        let empty = BARS.saturating_sub(minutes.len());
        let bars = minutes.iter().enumerate().map(|(index, minute)| {
            let value = number(minute);
            // What is more than nothing is seen.
            let height = (value * HEIGHT / highest).max(u64::from(value > 0));
            Bar {
                x: (empty + index) * STEP,
                y: HEIGHT - height,
                height,
                at: minute.at,
                value,
            }
        });
        Self {
            key,
            tone,
            total: minutes.iter().map(number).sum(),
            bars: bars.collect(),
            width: BARS * STEP,
            height: HEIGHT,
        }
    }

    /// The bars that are more than nothing, for the table.
    pub(super) fn told(&self) -> impl Iterator<Item = &Bar> {
        self.bars.iter().rev().filter(|bar| bar.value > 0)
    }

    /// When the hour begins that the chart has room for.
    pub(super) fn from(&self, reader: &Reader) -> String {
        let room = Millis::try_from(BARS).unwrap_or_default() * MINUTE;
        self.bars
            .last()
            .map_or_else(String::new, |bar| reader.clock(bar.at - room))
    }

    /// When the last minute ended.
    pub(super) fn to(&self, reader: &Reader) -> String {
        self.bars
            .last()
            .map_or_else(String::new, |bar| reader.clock(bar.at))
    }
}
