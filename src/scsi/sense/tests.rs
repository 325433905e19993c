use super::*;

#[test]
fn fixed_without_fields() {
    let sense = Sense::new(SenseKey::UNIT_ATTENTION, Asc(0x2903));
    let expected = [0x70, 0, 0x06, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0x29, 0x03, 0, 0, 0, 0];
    assert_eq!(sense.encode_fixed(), expected);
}

#[test]
fn fixed_with_information_is_valid() {
    let sense = Sense::lba_out_of_range(0x0102_0304);
    let expected = [0xf0, 0, 0x05, 0x01, 0x02, 0x03, 0x04, 0x0a, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0];
    assert_eq!(sense.encode_fixed(), expected);
    assert_eq!(Sense::lba_out_of_range(u32::MAX.into()).encode_fixed()[..7], [0xf0, 0, 5, 0xff, 0xff, 0xff, 0xff]);
}

#[test]
fn fixed_leaves_out_information_that_is_too_large() {
    let expected = [0x70, 0, 0x05, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0];
    assert_eq!(Sense::lba_out_of_range(0x1_0000_0000).encode_fixed(), expected);
}

#[test]
fn fixed_points_to_a_field() {
    let bit = Sense::invalid_field(1, Some(7)).encode_fixed();
    assert_eq!(bit, [0x70, 0, 0x05, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0x24, 0, 0, 0xcf, 0x00, 0x01]);
    let byte = Sense::invalid_field(0x102, None).encode_fixed();
    assert_eq!(byte, [0x70, 0, 0x05, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0x24, 0, 0, 0xc0, 0x01, 0x02]);
    let parameter = SenseKeySpecific::Field(FieldPointer { in_cdb: false, byte: 9, bit: Some(0) });
    let sense = Sense { specific: Some(parameter), ..Sense::illegal(Asc(0x2600)) };
    assert_eq!(sense.encode_fixed()[12..], [0x26, 0, 0, 0x88, 0x00, 0x09]);
}

#[test]
fn descriptors_only_where_there_is_something_to_say() {
    assert_eq!(Sense::NONE.encode_descriptor().as_bytes(), [0x72, 0, 0, 0, 0, 0, 0, 0]);
    let information = Sense::lba_out_of_range(0x0102_0304_0506_0708).encode_descriptor();
    let expected = [0x72, 5, 0x21, 0, 0, 0, 0, 12, 0x00, 0x0a, 0x80, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(information.as_bytes(), expected);
    let field = Sense::invalid_field(2, Some(5)).encode_descriptor();
    let expected = [0x72, 5, 0x24, 0, 0, 0, 0, 8, 0x02, 0x06, 0, 0, 0xcd, 0x00, 0x02, 0];
    assert_eq!(field.as_bytes(), expected);
}

#[test]
fn descriptors_together_fit() {
    let sense = Sense { information: Some(u64::MAX), ..Sense::invalid_field(3, None) }.with_command_specific(7);
    let encoded = sense.encode_descriptor();
    assert_eq!(encoded.as_bytes().len(), SENSE_LEN_MAX);
    assert_eq!(encoded.as_bytes()[7], 32);
    assert_eq!(encoded.as_bytes()[20..32], [0x01, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(encoded.as_bytes()[32..], [0x02, 0x06, 0, 0, 0xc0, 0x00, 0x03, 0]);
}

#[test]
fn deferred_errors_have_response_codes_of_their_own() {
    let sense = Sense { information: Some(5), ..Sense::new(SenseKey::MEDIUM_ERROR, Asc(0x0c00)) }.deferred();
    assert_eq!(sense.encode_fixed()[..7], [0xf1, 0, 3, 0, 0, 0, 5]);
    let expected = [0x73, 3, 0x0c, 0, 0, 0, 0, 12, 0x00, 0x0a, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    assert_eq!(sense.encode_descriptor().as_bytes(), expected);
}

#[test]
fn command_specific_information() {
    let sense = Sense::new(SenseKey::MEDIUM_ERROR, Asc(0x0c00)).with_command_specific(0x0102_0304);
    assert_eq!(sense.encode_fixed()[7..14], [10, 1, 2, 3, 4, 0x0c, 0]);
    assert_eq!(sense.with_command_specific(1 << 32).encode_fixed()[8..12], [0; 4], "too large for the field");
    let expected = [0x72, 3, 0x0c, 0, 0, 0, 0, 12, 0x01, 0x0a, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    assert_eq!(sense.encode_descriptor().as_bytes(), expected);
}

#[test]
fn progress() {
    let sense = Sense::new(SenseKey::NOT_READY, Asc(0x0404)).with_progress(0x8001);
    assert_eq!(sense.encode_fixed()[12..], [0x04, 0x04, 0, 0x80, 0x80, 0x01]);
    let expected = [0x72, 2, 0x04, 0x04, 0, 0, 0, 8, 0x02, 0x06, 0, 0, 0x80, 0x80, 0x01, 0];
    assert_eq!(sense.encode_descriptor().as_bytes(), expected);
}

#[test]
fn fields_of_parameter_lists() {
    let sense = Sense::invalid_parameter(0x0102, Some(7)).encode_fixed();
    assert_eq!(sense[12..], [0x26, 0, 0, 0x8f, 0x01, 0x02]);
}

#[test]
fn the_nexus_chooses_the_format() {
    let sense = Sense::lba_out_of_range(9);
    assert_eq!(sense.encode(false).as_bytes(), sense.encode_fixed());
    assert_eq!(sense.encode(true), sense.encode_descriptor());
}
