// What the service counts and measures: one table of instruments, from which the documentation is made (docs/metrics.md), and the cells that
// hold their values. A cell is a few numbers: adding to it costs next to nothing, and what OpenTelemetry makes of it is made when somebody
// asks (metric-data.ts). Values of attributes are bounded: what comes too late is counted under `other`.

interface Definition {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly unit: string
  readonly description: string
  readonly attributes: readonly string[]
  /** Upper bounds of a histogram's buckets. */
  readonly bounds?: readonly number[]
}

const seconds = [
  0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
]
const steps = [10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000]

/** Names as OpenTelemetry has them; for Prometheus dots become `_`, with the unit and `_total` behind. */
export const instruments = {
  'verdict.decisions': {
    kind: 'counter',
    unit: '{decision}',
    description: 'Answered questions',
    attributes: ['outcome', 'policy', 'cached'],
  },
  'verdict.decisions.by_door': { kind: 'counter', unit: '{decision}', description: 'Answered questions by protocol', attributes: ['door'] },
  'verdict.errors': { kind: 'counter', unit: '{decision}', description: 'Answers that are errors, which deny', attributes: ['code'] },
  'verdict.decision.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'From a question to its recorded decision',
    attributes: ['policy'],
    bounds: seconds,
  },
  'verdict.decision.steps': {
    kind: 'histogram',
    unit: '{step}',
    description: 'Steps of an evaluation; of what is given again: none',
    attributes: ['policy'],
    bounds: steps,
  },
  'http.server.request.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'HTTP requests, from their head to the end of the answer',
    attributes: ['http.route', 'http.response.status_code'],
    bounds: seconds,
  },
  'rpc.server.call.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'gRPC calls of one message, from their head to the answer',
    attributes: ['rpc.method', 'rpc.response.status_code'],
    bounds: seconds,
  },
  'verdict.issuer.request.duration': {
    kind: 'histogram',
    unit: 's',
    description: 'Requests to issuers of tokens: for their keys (`jwks`), about a token (`introspection`); `outcome`: `ok` or `failed`',
    attributes: ['request', 'outcome'],
    bounds: seconds,
  },
  'verdict.callers.requests': {
    kind: 'counter',
    unit: '{request}',
    description: 'How callers were known, or why they were refused',
    attributes: ['outcome'],
  },
  'verdict.callers.handshakes': {
    kind: 'counter',
    unit: '{handshake}',
    description: 'TLS handshakes by what became of them',
    attributes: ['outcome'],
  },
  'verdict.cache.lookups': {
    kind: 'counter',
    unit: '{lookup}',
    description: '`hits`, `misses`, and those that were `passed` since nothing is kept of them',
    attributes: ['outcome'],
  },
  'verdict.cache.entries': { kind: 'gauge', unit: '{entry}', description: 'Decisions that are kept', attributes: [] },
  'verdict.cache.size': { kind: 'gauge', unit: 'By', description: 'Size of what is kept', attributes: [] },
  'verdict.bundle.epoch': { kind: 'gauge', unit: '{epoch}', description: 'What answers', attributes: ['bundle'] },
  'verdict.bundle.age': { kind: 'gauge', unit: 's', description: 'Since what answers was activated', attributes: ['bundle'] },
  'verdict.bundle.refused_in': {
    kind: 'gauge',
    unit: 's',
    description: 'Until a bundle does not answer any longer, as its signature expires; only of those whose signature does',
    attributes: ['bundle'],
  },
  'verdict.bundle.failed': {
    kind: 'gauge',
    unit: '1',
    description: '1: the newest candidate was not activated',
    attributes: ['bundle'],
  },
  'verdict.bundle.memory': { kind: 'gauge', unit: 'By', description: 'Memory of the policy with its data', attributes: ['bundle'] },
  'verdict.isolated': { kind: 'gauge', unit: '{entry}', description: 'Revocations and quarantines that hold', attributes: ['kind'] },
  'verdict.log.pending': { kind: 'gauge', unit: 'By', description: 'Records that are not written yet', attributes: [] },
  'verdict.log.failures': {
    kind: 'counter',
    unit: '{failure}',
    description: 'Writes, syncs and checkpoints that failed, and are tried again',
    attributes: [],
  },
  'verdict.log.lost': {
    kind: 'counter',
    unit: 'By',
    description: 'Records of answers that were given and are gone; any is an alarm',
    attributes: [],
  },
  'verdict.log.available': {
    kind: 'gauge',
    unit: '1',
    description: '0: records cannot be written, and nothing is answered',
    attributes: [],
  },
  'verdict.log.signed': { kind: 'gauge', unit: '{entry}', description: 'Entries that the newest checkpoint covers', attributes: [] },
  'verdict.log.checkpoint.age': { kind: 'gauge', unit: 's', description: 'Since the newest checkpoint of this run', attributes: [] },
  'verdict.sink.delivered': { kind: 'counter', unit: '{record}', description: 'Records that a sink has taken', attributes: ['sink'] },
  'verdict.sink.dead': {
    kind: 'counter',
    unit: '{record}',
    description: 'Records that a sink refused for good, put aside',
    attributes: ['sink'],
  },
  'verdict.sink.failures': {
    kind: 'counter',
    unit: '{failure}',
    description: 'What did not arrive and is told again',
    attributes: ['sink'],
  },
  'verdict.sink.lag': { kind: 'gauge', unit: 'By', description: 'Of the log, what a sink has not taken yet', attributes: ['sink'] },
  'verdict.checkpoint_sink.delivered': {
    kind: 'counter',
    unit: '{checkpoint}',
    description: 'Signed checkpoints that a sink has taken',
    attributes: ['sink'],
  },
  'verdict.checkpoint_sink.failures': {
    kind: 'counter',
    unit: '{failure}',
    description: 'What did not arrive and is told again',
    attributes: ['sink'],
  },
  'verdict.checkpoint_sink.age': {
    kind: 'gauge',
    unit: 's',
    description: 'Since a sink took a checkpoint, while there is a newer one; 0 where there is none',
    attributes: ['sink'],
  },
  'verdict.certificate.expires_in': {
    kind: 'gauge',
    unit: 's',
    description: 'Until the certificate of the service expires',
    attributes: [],
  },
  'verdict.authorities.expire_in': {
    kind: 'gauge',
    unit: 's',
    description: 'Until the last authority of a trust domain expires, and no certificate of it is believed',
    attributes: ['trust_domain'],
  },
  'verdict.event_loop.delay': {
    kind: 'gauge',
    unit: 's',
    description: 'How much later than it should the event loop ran, since this was last asked',
    attributes: ['percentile'],
  },
  'process.memory.usage': { kind: 'gauge', unit: 'By', description: 'Memory of the process', attributes: [] },
  'process.cpu.time': { kind: 'counter', unit: 's', description: 'Time of processors', attributes: ['process.cpu.state'] },
  'verdict.uptime': { kind: 'gauge', unit: 's', description: 'Since the service started', attributes: ['version'] },
} as const satisfies Readonly<Record<string, Definition>>

export type InstrumentName = keyof typeof instruments

/** Of one combination of attributes. */
export interface Cell {
  readonly attributes: Readonly<Record<string, string>>
  value: number
  /** Of a histogram: how many values are at most each bound, and above the last. */
  readonly buckets: number[] | undefined
  count: number
  /** By bucket, a value that fell into it and was traced; made when there is the first. */
  exemplars: (Exemplar | undefined)[] | undefined
}

/** A value whose trace somebody keeps. */
export interface Exemplar {
  readonly traceId: string
  readonly spanId: string
  readonly value: number
  /** Milliseconds since 1970. */
  readonly atMs: number
}

/** Combinations of attributes of one instrument; those beyond share one. */
const maxCells = 500

export class Metrics {
  readonly #cells = new Map<InstrumentName, Map<string, Cell>>()
  readonly #observers: (() => void)[] = []

  /** The cell of some values of attributes, in the order of the table; to be kept by whoever adds to it often. */
  cell(name: InstrumentName, ...values: readonly string[]): Cell {
    let cells = this.#cells.get(name)
    if (cells === undefined) {
      cells = new Map()
      this.#cells.set(name, cells)
    }
    const key = values.join('\0')
    let cell = cells.get(key)
    if (cell !== undefined) return cell
    const definition: Definition = instruments[name]
    if (cells.size >= maxCells && key !== otherKey(definition)) return this.cell(name, ...definition.attributes.map(() => other))
    const attributes = Object.fromEntries(definition.attributes.map((attribute, i) => [attribute, values[i] ?? '']))
    cell = {
      attributes,
      value: 0,
      count: 0,
      exemplars: undefined,
      buckets: definition.bounds === undefined ? undefined : definition.bounds.map(() => 0).concat(0),
    }
    cells.set(key, cell)
    return cell
  }

  /** @param observe sets cells, whenever somebody asks for their values */
  onCollect(observe: () => void): void {
    this.#observers.push(observe)
  }

  /** Lets go of the cells of an instrument whose attributes come and go. */
  clear(name: InstrumentName): void {
    this.#cells.delete(name)
  }

  /** All that is known now, by instrument. */
  collect(): ReadonlyMap<InstrumentName, readonly Cell[]> {
    for (const observe of this.#observers) observe()
    return new Map([...this.#cells].map(([name, cells]) => [name, [...cells.values()]]))
  }
}

const other = 'other'

function otherKey({ attributes }: Definition): string {
  return attributes.map(() => other).join('\0')
}

/**
 * Adds a value to a histogram.
 * @param trace of what was measured, where somebody keeps it
 */
export function record(
  cell: Cell,
  bounds: readonly number[],
  value: number,
  trace?: { readonly traceId: string; readonly spanId: string },
): void {
  cell.value += value
  cell.count++
  const buckets = cell.buckets as number[]
  let i = 0
  while (i < bounds.length && value > (bounds[i] as number)) i++
  buckets[i] = (buckets[i] as number) + 1
  if (trace === undefined) return
  cell.exemplars ??= []
  cell.exemplars[i] = { traceId: trace.traceId, spanId: trace.spanId, value, atMs: Date.now() }
}

export function boundsOf(name: InstrumentName): readonly number[] {
  return (instruments[name] as Definition).bounds ?? []
}
