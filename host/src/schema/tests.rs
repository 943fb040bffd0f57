//! Encoding and decoding beside apache-avro's own, what is refused, and what strangers' bytes and schemas may cost.

mod random;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;

use super::*;

const ROUTE: &str = include_str!("../../../pipelines/schemas/airline-route-event.avsc");

fn types(text: &str) -> Arc<Types> {
    Arc::new(Types::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// A record `R` with these fields.
fn record(fields: &str) -> Arc<Types> {
    types(&format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#))
}

fn encode(types: &Arc<Types>, json: &str) -> Result<Vec<u8>, String> {
    let mut avro = Vec::new();
    let encoded = Encoder::new(types.clone()).encode(json.as_bytes(), &mut avro);
    encoded.map(|()| avro).map_err(|misfit| misfit.to_string())
}

fn decode(writer: &Types, reader: &Types, avro: &[u8]) -> Result<String, String> {
    let mut json = Vec::new();
    let decoded = decode::decode(writer, reader, avro, &mut json);
    decoded.map(|()| String::from_utf8(json).unwrap()).map_err(|misfit| misfit.to_string())
}

/// A route with other values for some fields.
fn route(changes: serde_json::Value) -> String {
    let mut route = serde_json::json!({
        "id": "0b7c8f6e-4a57-4b1f-9d0e-0a4e5f6b7c8d", "datetime": "2024-05-01T12:00:00Z", "airline": "2B",
        "airline_id": 410, "source_airport": "AER", "source_airport_id": 2965, "destination_airport": "KZN",
        "destination_airport_id": 2990, "codeshare": false, "stops": 0, "equipment": "CR2 \"é\""
    });
    for (name, value) in changes.as_object().unwrap() {
        route[name] = value.clone();
    }
    route.to_string()
}

#[test]
fn a_route_is_what_apache_avro_reads() {
    let types = types(ROUTE);
    let mut encoder = Encoder::new(types.clone());
    let schema = apache_avro::Schema::parse_str(ROUTE).unwrap();
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    // The second has the shape of the first, the third another one, and so on.
    let spaced = route(serde_json::json!({})).replace("\":", "\" : ");
    for json in [route(serde_json::json!({"stops": -1})), route(serde_json::json!({"stops": i32::MAX})), spaced] {
        let mut avro = Vec::new();
        encoder.encode(json.as_bytes(), &mut avro).unwrap();
        let read = reader.read_value(&mut avro.as_slice()).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::Value::try_from(read).unwrap(), expected);
        let decoded = decode(&types, &types, &avro).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&decoded).unwrap(), expected);
    }
}

#[test]
fn what_does_not_fit_is_told_by_its_field() {
    let types = types(ROUTE);
    for (changes, said) in [
        (serde_json::json!({"gate": 1}), "field gate: the schema has no such field"),
        (serde_json::json!({"stops": "0"}), "field stops: \"0\" is not an int"),
        (serde_json::json!({"stops": 1.0}), "field stops: 1.0 is not an int"),
        (serde_json::json!({"stops": null}), "field stops: null is not an int"),
        (serde_json::json!({"airline_id": 2_147_483_648_i64}), "field airline_id: 2147483648 is beyond an int"),
        (serde_json::json!({"codeshare": "Y"}), "field codeshare: \"Y\" is not a boolean"),
        (serde_json::json!({"airline": ["2B"]}), "field airline: [\"2B\"] is not a string"),
    ] {
        assert_eq!(encode(&types, &route(changes)), Err(said.to_owned()));
    }
    let short = route(serde_json::json!({})).replace(",\"stops\":0", "");
    assert_eq!(encode(&types, &short), Err("field stops: it is missing, and has no default".to_owned()));
    for no_object in ["", "[]", "7", "{\"id\":", "\u{0}", "{\"id\":\"a\",\"id\":\"b\"}"] {
        assert!(encode(&types, no_object).is_err(), "{no_object:?}");
    }
    // What does not fit has no effect on what comes after it.
    let mut encoder = Encoder::new(types);
    for (json, fits) in [(route(serde_json::json!({"gate": 1})), false), (route(serde_json::json!({})), true)] {
        for _ in 0..2 {
            assert_eq!(encoder.encode(json.as_bytes(), &mut Vec::new()).is_ok(), fits);
        }
    }
}

#[test]
fn types_are_strict() {
    let nested = r#"{"name":"a","type":{"type":"array","items":{"type":"record","name":"S","fields":[
        {"name":"m","type":{"type":"map","values":["null","long","S"]}}]}}}"#;
    let time = r#"{"name":"a","type":{"type":"long","logicalType":"timestamp-millis"}}"#;
    let date = r#"{"name":"a","type":["null",{"type":"int","logicalType":"date"}]}"#;
    let fixed = r#"{"name":"a","type":{"type":"fixed","name":"F","size":2}}"#;
    let choice = r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["P","Q"]}}"#;
    for (field, json, expected) in [
        (nested, r#"{"a":[{"m":{}},{"m":{"k":null,"l":7,"n":{"m":{}}}}]}"#, Ok(())),
        (nested, r#"{"a":[{"m":{"k":"x"}}]}"#, Err("field a[0].m.k: \"x\" is none of null, a long, a record")),
        (nested, r#"{"a":[{"m":{"k":{"m":{},"x":1}}}]}"#, Err("field a[0].m.k.x: the schema has no such field")),
        (nested, r#"{"a":{}}"#, Err("field a: {} is not an array")),
        (time, r#"{"a":"2024-05-01T12:00:00.125+02:00"}"#, Ok(())),
        (time, r#"{"a":1714557600125}"#, Ok(())),
        (
            time,
            r#"{"a":"2024-05-01T12:00:00.1255Z"}"#,
            Err("field a: \"2024-05-01T12:00:00.1255Z\" is finer than the unit of the timestamp"),
        ),
        (time, r#"{"a":"noon"}"#, Err("field a: \"noon\" is no time such as \"2024-05-01T12:00:00Z\"")),
        (date, r#"{"a":"1969-12-31"}"#, Ok(())),
        (
            date,
            r#"{"a":"2024-05-01T12:00:00Z"}"#,
            Err("field a: \"2024-05-01T12:00:00Z\" is no date such as \"2024-05-01\""),
        ),
        (fixed, r#"{"a":"\u0000ÿ"}"#, Ok(())),
        (fixed, r#"{"a":"abc"}"#, Err("field a: \"abc\" has 3 bytes instead of 2")),
        (fixed, r#"{"a":"a€"}"#, Err("field a: \"a€\" has characters beyond U+00FF, which stand for no byte")),
        (choice, r#"{"a":"Q"}"#, Ok(())),
        (choice, r#"{"a":"R"}"#, Err("field a: \"R\" is no symbol of the enum")),
        (r#"{"name":"a","type":"double"}"#, r#"{"a":1e999}"#, Err("field a: 1e999 is beyond a double")),
        (r#"{"name":"a","type":"float"}"#, r#"{"a":1e39}"#, Err("field a: 1e39 is beyond a float")),
        (
            r#"{"name":"a","type":"long"}"#,
            r#"{"a":9223372036854775808}"#,
            Err("field a: 9223372036854775808 is beyond a long"),
        ),
        (r#"{"name":"a","type":"int","default":7}"#, "{}", Ok(())),
    ] {
        let types = record(field);
        let encoded = encode(&types, json);
        assert_eq!(encoded.as_ref().map(drop).map_err(String::as_str), expected, "{json}");
        if let Ok(avro) = encoded {
            // As it is read, it is written again.
            let read = decode(&types, &types, &avro).unwrap();
            assert_eq!(encode(&types, &read).unwrap(), avro, "{json} {read}");
        }
    }
}

#[test]
fn both_ways_agree_with_apache_avro() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = random::Random::new(seed);
    for _ in 0..400 {
        let text = random.record().to_string();
        let types = types(&text);
        let mut encoder = Encoder::new(types.clone());
        let schema = apache_avro::Schema::parse_str(&text).unwrap();
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        let kind: serde_json::Value = serde_json::from_str(&text).unwrap();
        for _ in 0..5 {
            let (json, value) = random.value(&kind);
            let mut avro = Vec::new();
            encoder.encode(json.to_string().as_bytes(), &mut avro).unwrap_or_else(|e| panic!("{e}\n{text}\n{json}"));
            assert_eq!(avro, writer.write_value_to_vec(value).unwrap(), "{text}\n{json}");
            let read = decode(&types, &types, &avro).unwrap_or_else(|error| panic!("{error}\n{text}\n{json}"));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&read).unwrap(), json, "{text}");
            // What is cut off is refused, wherever that is.
            for length in 0..avro.len() {
                assert!(decode(&types, &types, &avro[..length]).is_err(), "{length} of {avro:?}\n{text}");
            }
            avro.push(0);
            assert!(decode(&types, &types, &avro).is_err(), "{text}");
        }
    }
}

#[test]
fn no_bytes_do_harm() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = random::Random::new(seed);
    for _ in 0..300 {
        let (writer, reader) = (types(&random.record().to_string()), types(&random.record().to_string()));
        for _ in 0..50 {
            let bytes = random.bytes(60);
            // Whatever is read fits.
            if let Ok(json) = decode(&writer, &writer, &bytes) {
                encode(&writer, &json).unwrap_or_else(|error| panic!("{error}: {json}"));
            }
            let _ = decode(&writer, &reader, &bytes);
            let _ = encode(&reader, &String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn few_bytes_cost_little_whatever_the_schema() {
    let start = std::time::Instant::now();
    let many = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    for (fields, avro) in [
        // 2^62 nulls; empty records; each again for each element of an array, and read to be left out.
        (r#"{"name":"a","type":{"type":"array","items":"null"}}"#, many.to_vec()),
        (r#"{"name":"a","type":{"type":"array","items":{"type":"record","name":"E","fields":[]}}}"#, many.to_vec()),
        (r#"{"name":"b","type":{"type":"array","items":{"type":"array","items":"null"}}}"#, many.repeat(100)),
        // A string, an array block, a map of so many bytes.
        (r#"{"name":"a","type":"string"}"#, many.to_vec()),
        (r#"{"name":"a","type":"bytes"}"#, [&many[..9], &[0]].concat()),
        (r#"{"name":"a","type":{"type":"map","values":"int"}}"#, many.to_vec()),
        // A record within itself that takes no bytes, and one that goes as deep as there are bytes.
        (r#"{"name":"a","type":"R"}"#, Vec::new()),
        (r#"{"name":"a","type":["null","R"]}"#, vec![2; 10 << 20]),
        (r#"{"name":"a","type":{"type":"array","items":"R"}}"#, vec![2; 10 << 20]),
    ] {
        let writer = record(fields);
        let reader = record(r#"{"name":"a","type":"string","default":""}"#);
        decode(&writer, &writer, &avro).unwrap_err();
        decode(&writer, &reader, &avro).unwrap_err();
    }
    // A value at the bottom that fits no branch of any union above it.
    let types = record(
        r#"{"name":"a","type":["int",{"type":"record","name":"P","fields":[{"name":"a","type":["int","P","R"]}]},"R"]}"#,
    );
    let deep = "{\"a\":".repeat(60) + "true" + &"}".repeat(60);
    encode(&types, &deep).unwrap_err();
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn a_schema_evolves() {
    let writer = record(
        r#"{"name":"old","type":{"type":"array","items":"string"}},{"name":"n","type":"int"},{"name":"was","type":"long"},
           {"name":"e","type":{"type":"enum","name":"E","symbols":["NEW","P"]}}"#,
    );
    let reader = record(
        r#"{"name":"n","type":["null","double"]},{"name":"is","aliases":["was"],"type":"float"},
           {"name":"e","type":{"type":"enum","name":"E","symbols":["P","OTHER"],"default":"OTHER"}},
           {"name":"t","type":{"type":"long","logicalType":"timestamp-micros"},"default":1},
           {"name":"u","type":["null","string"],"default":null}"#,
    );
    let avro = encode(&writer, r#"{"old":["x","y"],"n":3,"was":4,"e":"NEW"}"#).unwrap();
    let json = r#"{"n":3.0,"is":4.0,"e":"OTHER","t":"1970-01-01T00:00:00.000001Z","u":null}"#;
    assert_eq!(decode(&writer, &reader, &avro).as_deref(), Ok(json));
    let without = record(r#"{"name":"n","type":"int"},{"name":"x","type":"int"}"#);
    let error = decode(&writer, &without, &avro).unwrap_err();
    assert_eq!(error, "field x: the schema that it was written by does not have it, and ours has no default");
    let other = record(r#"{"name":"n","type":"string"}"#);
    let error = decode(&writer, &other, &avro).unwrap_err();
    assert_eq!(error, "field n: it was written as an int, and is a string in our schema");
}

#[test]
fn a_pattern_that_goes_back_for_ever_is_a_misfit() {
    let schema = serde_json::json!({ "type": "string", "pattern": r"^(?:(a+)\1?)+b$" });
    let mut checker = Checker::Json(Arc::new(validator(&schema).unwrap()));
    let start = std::time::Instant::now();
    for _ in 0..10 {
        checker.check(format!("\"{}\"", "a".repeat(1_000)).as_bytes(), &mut Vec::new()).unwrap_err();
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
    checker.check(b"\"aab\"", &mut Vec::new()).unwrap();
}
