//! JSON of each kind into columns of each kind, and what does not fit.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use serde_json::{Value, json};

use super::*;

const KINDS: [Kind; 5] = [Kind::Boolean, Kind::Integer, Kind::Float, Kind::Text, Kind::Timestamp];

fn field(name: &str, kind: Kind, nullable: bool) -> Field {
    Field { name: name.to_owned(), kind, nullable }
}

/// What a batch holds in a row, as JSON; timestamps as microseconds.
fn row(batch: &RecordBatch, row: usize) -> Vec<Value> {
    let cell = |array: &ArrayRef| match array.data_type() {
        _ if array.is_null(row) => Value::Null,
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        _ => json!(array.as_primitive::<TimestampMicrosecondType>().value(row)),
    };
    batch.columns().iter().map(cell).collect()
}

/// What becomes of a value in a column; `None` if it is refused. Made from the value, not from its text.
fn expected(value: &Value, field: &Field) -> Option<Value> {
    match (value, field.kind) {
        (Value::Null, _) => field.nullable.then_some(Value::Null),
        (Value::String(_), Kind::Text) => Some(value.clone()),
        (other, Kind::Text) => Some(json!(other.to_string())),
        (Value::Bool(_), Kind::Boolean) => Some(value.clone()),
        (Value::Number(number), Kind::Integer) => number.as_i64().map(|number| json!(number)),
        (Value::Number(number), Kind::Float) => number.as_f64().map(|number| json!(number)),
        (Value::Number(number), Kind::Timestamp) => {
            let time = Timestamp::from_millisecond(number.as_i64()?).ok()?;
            Some(json!(time.as_microsecond()))
        }
        (Value::String(text), Kind::Timestamp) => {
            let time: Timestamp = text.parse().ok()?;
            Some(json!(i64::try_from(time.as_nanosecond().div_euclid(1000)).ok()?))
        }
        _ => None,
    }
}

/// Mostly of the kind.
fn any_value(random: &mut fastrand::Rng, kind: Kind) -> Value {
    let kind = if random.u8(..40) == 0 { *random.choice(&KINDS).unwrap() } else { kind };
    match (random.u8(..12), kind) {
        (0, _) => Value::Null,
        (1, Kind::Text) => json!({"b": [random.u8(..), null, "é\n"], "c": {}}),
        (1, Kind::Integer | Kind::Timestamp) => json!(random.u64(..)),
        (2, Kind::Integer | Kind::Timestamp) => json!(random.i64(..)),
        (1, Kind::Float) => json!(random.i64(..)),
        (2, Kind::Float) => json!(f64::from_bits(random.u64(..))),
        (_, Kind::Boolean) => json!(random.bool()),
        (_, Kind::Integer) => json!(random.i64(-1000..1000)),
        (_, Kind::Float) => json!((random.f64() - 0.5) * 1e5),
        (_, Kind::Text) => json!((0..random.usize(..20)).map(|_| random.char(..)).collect::<String>()),
        (3, Kind::Timestamp) => json!(random.i64(-62_135_596_800_000..253_402_300_800_000)),
        (_, Kind::Timestamp) => {
            let nanosecond = i128::from(random.i64(..)) * 6;
            json!(Timestamp::from_nanosecond(nanosecond).unwrap().to_string())
        }
    }
}

#[test]
fn rows_are_what_serde_json_reads() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..200 {
        let kinds: Vec<Kind> = (0..random.usize(1..8)).map(|_| *random.choice(&KINDS).unwrap()).collect();
        let named = kinds.iter().zip('a'..).map(|(kind, name)| field(&name.to_string(), *kind, random.u8(..4) > 0));
        let fields: Vec<Field> = named.collect();
        let mut columns = Columns::new(&fields);
        let mut rows = Vec::new();
        for _ in 0..random.usize(..200) {
            let mut message = serde_json::Map::new();
            let mut order: Vec<&Field> = fields.iter().filter(|_| random.u8(..50) > 0).collect();
            if random.u8(..10) == 0 {
                random.shuffle(&mut order);
            }
            for field in order {
                message.insert(field.name.clone(), any_value(&mut random, field.kind));
            }
            let unknown = random.u8(..50) == 0 && message.insert("unknown".to_owned(), Value::Null).is_none();
            let of = |field: &Field| expected(message.get(&field.name).unwrap_or(&Value::Null), field);
            let row: Option<Vec<Value>> = fields.iter().map(of).collect();
            let text = serde_json::to_string(&message).unwrap();
            let pushed = columns.push(text.as_bytes());
            assert_eq!(pushed.is_ok(), row.is_some() && !unknown, "{text}: {pushed:?}");
            rows.extend(row.filter(|_| !unknown));
            assert_eq!(columns.rows(), rows.len());
            if random.u8(..100) == 0 {
                take(&mut columns, &mut rows);
            }
        }
        take(&mut columns, &mut rows);
    }
}

fn take(columns: &mut Columns, rows: &mut Vec<Vec<Value>>) {
    let batch = columns.take();
    assert_eq!((batch.num_rows(), columns.rows()), (rows.len(), 0));
    for (at, expected) in rows.drain(..).enumerate() {
        assert_eq!(row(&batch, at), expected);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_field_and_leaves_nothing() {
    let fields = [
        field("text", Kind::Text, true),
        field("id", Kind::Integer, false),
        field("speed", Kind::Float, true),
        field("day", Kind::Boolean, true),
        field("at", Kind::Timestamp, true),
    ];
    let mut columns = Columns::new(&fields);
    let cases = [
        (r#"{"text": "a", "id": "7"}"#, r#"field "id": "7" is not a 64-bit integer"#),
        (r#"{"text": "a", "id": 1.5}"#, r#"field "id": 1.5 is not a 64-bit integer"#),
        (r#"{"id": 9223372036854775808}"#, r#"field "id": 9223372036854775808 is not a 64-bit integer"#),
        (r#"{"id": [1]}"#, r#"field "id": [1] is not a 64-bit integer"#),
        (r#"{"id": null}"#, r#"field "id": it is missing or null, and the plugin declares that it never is"#),
        (r#"{"text": "a"}"#, r#"field "id": it is missing or null, and the plugin declares that it never is"#),
        (r#"{"id": 1, "speed": "2.5"}"#, r#"field "speed": "2.5" is not a number that a 64-bit float can hold"#),
        (r#"{"id": 1, "speed": 1e999}"#, r#"field "speed": 1e999 is not a number that a 64-bit float can hold"#),
        (r#"{"id": 1, "day": "true"}"#, r#"field "day": "true" is not a boolean"#),
        (
            r#"{"id": 1, "at": "2024-04-25T08:11"}"#,
            r#"field "at": "2024-04-25T08:11" is not a timestamp: RFC 3339 text, or milliseconds since 1970"#,
        ),
        (r#"{"id": 1, "at": 1.5}"#, r#"field "at": 1.5 is not a timestamp: RFC 3339 text, or milliseconds since 1970"#),
        (r#"{"id": 1, "x": 2}"#, r#"a field "x" that the plugin does not declare"#),
        (r#"{"id": 1, "id": 2}"#, "a second value of the same name at byte 16"),
        ("null", "null instead of an object at byte 0"),
        ("{\"text\": \"\u{fffd}", "a string without end at byte 9"),
    ];
    for (message, problem) in cases {
        columns.push(br#"{"text": "kept", "id": 1, "speed": 2}"#).unwrap();
        // Twice, as it has the shape of the last one then.
        for _ in 0..2 {
            assert_eq!(columns.push(message.as_bytes()), Err(problem.to_owned()), "{message}");
        }
    }
    assert!(columns.push(b"{\"text\": \"\xff\", \"id\": 1}").is_err());
    assert!(columns.push(b"{\"text\": [\"\xff\"], \"id\": 1}").is_err());
    let batch = columns.take();
    assert_eq!(batch.num_rows(), cases.len());
    for at in 0..cases.len() {
        assert_eq!(row(&batch, at), [json!("kept"), json!(1), json!(2.0), Value::Null, Value::Null]);
    }
}

#[test]
fn times_are_cut_to_microseconds_downwards() {
    let mut columns = Columns::new(&[field("at", Kind::Timestamp, false)]);
    for at in [
        r#""1970-01-01T00:00:00.0000019Z""#,
        r#""1969-12-31T23:59:59.9999999Z""#,
        "-1",
        r#""1970-01-01T02:00:00+02:00""#,
    ] {
        columns.push(format!(r#"{{"at": {at}}}"#).as_bytes()).unwrap();
    }
    let batch = columns.take();
    assert_eq!(batch.column(0).as_primitive::<TimestampMicrosecondType>().values(), &[1, -1, -1000, 0]);
    assert_eq!(batch.schema(), *columns.schema());
}
