// Adds the hemisphere to positions: {"latitude":"-15.34",…} becomes {"latitude":"-15.34",…,"hemisphere":"S"}.
// Rejects what has no latitude. Written from ../../wit alone; README.md says how it is built.

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();
let field = "latitude";

/** A column's byte strings, in order; null is a null. */
function* rows({ bytes, lengths }) {
  let start = 0;
  for (const length of lengths) {
    yield length < 0 ? null : bytes.subarray(start, (start += length));
  }
}

/** The column of these byte strings: laid end to end, with a length each. */
function column(rows) {
  const bytes = new Uint8Array(rows.reduce((sum, row) => sum + (row?.length ?? 0), 0));
  let end = 0;
  for (const row of rows) {
    if (row) bytes.set(row, end);
    end += row?.length ?? 0;
  }
  return { bytes, lengths: Int32Array.from(rows, (row) => row?.length ?? -1) };
}

/** The message with its hemisphere; throws the reason to reject it. */
function locate(value) {
  if (value === null) throw new Error("the message has no value");
  const text = decoder.decode(value);
  const message = JSON.parse(text);
  if (message === null || typeof message !== "object" || Array.isArray(message)) throw new Error("not a JSON object");
  if ("hemisphere" in message) throw new Error("the message has a hemisphere already");
  const written = Object.hasOwn(message, field) ? message[field] : undefined;
  // Number() would make 0 of "", null and false.
  const latitude = typeof written === "number" || (typeof written === "string" && written.trim()) ? Number(written) : NaN;
  if (!(Math.abs(latitude) <= 90)) throw new Error(`no latitude from -90 to 90 in the field ${JSON.stringify(field)}`);
  // Added to the text, not to the object: JSON.stringify would round integers above 2^53.
  const end = text.lastIndexOf("}");
  return encoder.encode(`${text.slice(0, end)},"hemisphere":"${latitude < 0 ? "S" : "N"}"}`);
}

export const transform = {
  describe: () => ({
    name: "hemisphere",
    version: "0.1.0",
    summary: "Adds the hemisphere, N or S, of a position.",
    settings: JSON.stringify({
      type: "object",
      properties: { field: { type: "string", default: "latitude", description: "The field that holds the latitude." } },
      additionalProperties: false,
    }),
  }),

  // The host has checked the settings against the schema above. The other fields pass through, so the
  // fields of the output are not known in advance: none are named. An error is thrown as a string.
  open(settings) {
    field = JSON.parse(settings || "{}").field ?? "latitude";
    return { fields: [], key: [], groups: [] };
  },

  process({ keys, values, timestamps, headers }) {
    const keyOf = [...rows(keys)];
    const kept = { keys: [], values: [], origins: [] };
    const rejected = [];
    let message = 0;
    for (const value of rows(values)) {
      try {
        kept.values.push(locate(value));
        kept.keys.push(keyOf[message]);
        kept.origins.push(message);
      } catch (error) {
        rejected.push({ message, reason: error.message });
      }
      message += 1;
    }
    // Headers name a message of their own batch, so they are numbered anew.
    const place = new Map(kept.origins.map((origin, i) => [origin, i]));
    return {
      messages: {
        keys: column(kept.keys),
        values: column(kept.values),
        // 64-bit integers are BigInt here.
        timestamps: BigInt64Array.from(kept.origins, (origin) => timestamps[origin]),
        headers: headers.filter((h) => place.has(h.message)).map((h) => ({ ...h, message: place.get(h.message) })),
      },
      origins: Uint32Array.from(kept.origins),
      rejected,
    };
  },
};
