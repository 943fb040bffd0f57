//! Random schemas, with values of theirs: as JSON, and as apache-avro has them.

use std::collections::HashMap;

use apache_avro::types::Value as Avro;
use serde_json::{Value as Json, json};

pub struct Random {
    random: fastrand::Rng,
    /// Of names that must differ.
    named: usize,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), named: 0 }
    }

    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.random.usize(..most);
        // Small numbers mean most.
        (0..length).map(|_| if self.random.bool() { self.random.u8(..) } else { self.random.u8(..8) }).collect()
    }

    pub fn record(&mut self) -> Json {
        self.record_of(3)
    }

    fn record_of(&mut self, depth: usize) -> Json {
        let name = self.name();
        let fields: Vec<Json> = (0..self.random.usize(1..6))
            .map(|field| json!({"name": format!("f{field}"), "type": self.kind(depth - 1)}))
            .collect();
        json!({"type": "record", "name": name, "fields": fields})
    }

    fn name(&mut self) -> String {
        self.named += 1;
        format!("N{}", self.named)
    }

    fn kind(&mut self, depth: usize) -> Json {
        const PLAIN: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
        match self.random.usize(..if depth == 0 { 10 } else { 14 }) {
            plain @ 0..8 => PLAIN[plain].into(),
            8 => json!({"type": "enum", "name": self.name(), "symbols": ["A", "B", "C"]}),
            9 => json!({"type": "fixed", "name": self.name(), "size": self.random.usize(1..5)}),
            10 => json!({"type": "array", "items": self.kind(depth - 1)}),
            11 => json!({"type": "map", "values": self.kind(depth - 1)}),
            12 => json!(["null", "long", "string", "boolean", self.record_of(depth)]),
            _ => self.record_of(depth),
        }
    }

    pub fn value(&mut self, kind: &Json) -> (Json, Avro) {
        if let Some(branches) = kind.as_array() {
            let branch = self.random.usize(..branches.len());
            let (json, avro) = self.value(&branches[branch]);
            return (json, Avro::Union(branch as u32, Box::new(avro)));
        }
        let name = kind.as_str().or_else(|| kind["type"].as_str()).unwrap();
        match name {
            "null" => (Json::Null, Avro::Null),
            "boolean" => {
                let value = self.random.bool();
                (value.into(), Avro::Boolean(value))
            }
            "int" => {
                let value = self.random.i32(..) >> self.random.u32(..32);
                (value.into(), Avro::Int(value))
            }
            "long" => {
                let value = self.random.i64(..) >> self.random.u32(..64);
                (value.into(), Avro::Long(value))
            }
            "float" => {
                let value = self.random.f32() * 100.0 - 50.0;
                // As its shortest decimal, which is the float again. There can be two of them: this is serde_json's.
                let json = serde_json::to_string(&value).unwrap();
                (serde_json::from_str(&json).unwrap(), Avro::Float(value))
            }
            "double" => {
                let value = (self.random.f64() - 0.5) * 10_f64.powi(self.random.i32(-20..20));
                (value.into(), Avro::Double(value))
            }
            "string" => {
                let value: String = (0..self.random.usize(..12)).map(|_| self.random.char(..)).collect();
                (value.clone().into(), Avro::String(value))
            }
            "bytes" => {
                let value = self.bytes(12);
                (latin(&value), Avro::Bytes(value))
            }
            "fixed" => {
                let size = kind["size"].as_u64().unwrap() as usize;
                let value: Vec<u8> = (0..size).map(|_| self.random.u8(..)).collect();
                (latin(&value), Avro::Fixed(size, value))
            }
            "enum" => {
                let symbol = self.random.usize(..3);
                let name = ["A", "B", "C"][symbol];
                (name.into(), Avro::Enum(symbol as u32, name.to_owned()))
            }
            "array" => {
                let (json, avro) = (0..self.random.usize(..4)).map(|_| self.value(&kind["items"])).unzip();
                (Json::Array(json), Avro::Array(avro))
            }
            "map" => {
                // The other library writes more than one in any order.
                let entries: Vec<(String, (Json, Avro))> =
                    (0..self.random.usize(..2)).map(|_| ("k\"é".to_owned(), self.value(&kind["values"]))).collect();
                let json = entries.iter().map(|(key, (json, _))| (key.clone(), json.clone())).collect();
                let avro: HashMap<String, Avro> = entries.into_iter().map(|(key, (_, avro))| (key, avro)).collect();
                (Json::Object(json), Avro::Map(avro))
            }
            "record" => {
                let (mut json, mut avro) = (serde_json::Map::new(), Vec::new());
                for field in kind["fields"].as_array().unwrap() {
                    let name = field["name"].as_str().unwrap().to_owned();
                    let (one, other) = self.value(&field["type"]);
                    json.insert(name.clone(), one);
                    avro.push((name, other));
                }
                (Json::Object(json), Avro::Record(avro))
            }
            other => panic!("{other}"),
        }
    }
}

fn latin(bytes: &[u8]) -> Json {
    bytes.iter().copied().map(char::from).collect::<String>().into()
}
