//! What a device tells of its own condition.

/// Condition of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Degrees Celsius, 0 if it is colder; none if it does not say.
    pub temperature: Option<u8>,
    /// Degrees Celsius up to which all is well, if it says so.
    pub temperature_max: Option<u8>,
    /// Percent of what it was made to endure that are used up. May be more than 100.
    pub percentage_used: u8,
    /// Its temperature is not what it should be.
    pub is_out_of_range: bool,
    /// It runs out of what replaces worn parts, cannot be relied on, or cannot be written any more.
    pub is_failing: bool,
}
