// Recorded decisions made again: on the archived bundle that made them, where each must come out as it did, or on another one, to see what
// it would change; and one of them explained by OPA's own evaluator. From a log and the archives of bundles, without a service.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LogRecord } from './audit/query-log.ts'
import type { Bundle } from './bundles/bundle.ts'
import { readBundle } from './bundles/read-bundle.ts'
import { configSchema } from './config.ts'
import { membersOf, toSingleLine } from './decision/json-text.ts'
import { readResult } from './decision/read-result.ts'
import type { JsonText } from './decision/request.ts'
import { PdpError, toPdpError } from './errors.ts'
import { PolicyInstance } from './policy/policy-instance.ts'
import { compilePolicyModule } from './policy/policy-module.ts'
import { withTrusted } from './policy/trusted-input.ts'
import { CallAnswers } from './policy/varying-calls.ts'
import { createReactorHost } from './rego/reactor-host.ts'
import type { Toolchain } from './rego/toolchain.ts'
import { version } from './version.ts'

/** What a recorded decision was, or is when it is made again. */
export interface Outcome {
  readonly outcome: 'allow' | 'deny' | 'error'
  readonly reasons: JsonText | undefined
  readonly obligations: JsonText | undefined
  readonly code: string | undefined
}

export type Replayed =
  | { readonly kind: 'same' }
  | { readonly kind: 'different'; readonly before: Outcome; readonly after: Outcome }
  /** Why it cannot be made again. */
  | { readonly kind: 'skipped'; readonly why: string }

/** Bundles that stay loaded. */
const maxLoaded = 4

export class LogReplay {
  readonly #toolchain: Toolchain
  readonly #archives: string
  readonly #trustedKey: string
  readonly #instances = new Map<string, Promise<PolicyInstance>>()

  /**
   * @param archives folder of the archives, as the state folder has them in `bundles`
   * @param trustedKey key of `input` for what the service established itself, as it was configured
   */
  constructor(toolchain: Toolchain, archives: string, trustedKey: string) {
    this.#toolchain = toolchain
    this.#archives = archives
    this.#trustedKey = trustedKey
  }

  /**
   * @param line of the log
   * @param other a bundle to be asked instead of the one that decided
   */
  async replay(line: string, record: LogRecord, other?: { readonly name: string; readonly archive: Buffer }): Promise<Replayed> {
    const skipped = (why: string): Replayed => ({ kind: 'skipped', why })
    if (record.kind !== undefined) return skipped('no decision')
    const members = membersOf(line)
    const { policy, outcome } = record
    if (policy === undefined || outcome === undefined) return skipped('no policy')
    if (record.cached === true) return skipped('given again')
    if (members.get('replayable') !== 'true') return skipped('masked or truncated')
    let instance: PolicyInstance
    try {
      instance = await this.#instance(
        other?.name ?? policy.digest,
        members.get('labels') ?? '{}',
        () => other?.archive ?? this.#read(policy.digest),
      )
    } catch (thrown) {
      const { code, message } = toPdpError(thrown)
      if (code !== 'ERR_FILE') throw thrown
      return skipped(message)
    }
    const answers = new CallAnswers(members.get('nd'))
    const before: Outcome = {
      outcome,
      reasons: members.get('reasons'),
      obligations: members.get('obligations'),
      code: record.error?.code,
    }
    const after = this.#ask(instance, policy.entrypoint, members, Date.parse(record.time ?? ''), answers)
    if (answers.isMissing) return skipped('asks the world what it did not ask then')
    // Budgets and threads of the service have a part in what failed.
    if (other === undefined && outcome === 'error' && !ofPolicy.has(before.code ?? ''))
      return skipped('failed for another reason than its policy')
    const isSame =
      before.outcome === after.outcome &&
      before.code === after.code &&
      before.reasons === after.reasons &&
      before.obligations === after.obligations
    return isSame ? { kind: 'same' } : { kind: 'different', before, after }
  }

  /**
   * OPA's own trace of a recorded decision, and the Rego that it is of.
   * @throws PdpError ERR_FILE where the archive is gone; ERR_CONFLICT where the record or the bundle is not enough
   */
  async explain(
    line: string,
    record: LogRecord,
  ): Promise<{ readonly trace: string; readonly bundle: Bundle; readonly result: string | undefined }> {
    const members = membersOf(line)
    const { policy } = record
    if (policy === undefined) throw new PdpError('ERR_CONFLICT', 'no policy decided it')
    if (members.get('replayable') !== 'true')
      throw new PdpError('ERR_CONFLICT', 'its input was masked or truncated, so it cannot be made again')
    const bundle = await readBundle(this.#read(policy.digest))
    if (Object.keys(bundle.modules).length === 0) throw new PdpError('ERR_CONFLICT', 'the bundle carries no Rego to explain with')
    const { trace, result } = await this.#toolchain.eval({
      files: bundle.modules,
      regoVersion: bundle.manifest.rego_version,
      data: bundle.data,
      input: this.#inputOf(members),
      entrypoint: policy.entrypoint,
      timeNs: BigInt(Date.parse(record.time ?? '')) * 1_000_000n,
      explain: 'full',
    })
    return { trace: trace ?? '', bundle, result }
  }

  #ask(instance: PolicyInstance, path: string, members: ReadonlyMap<string, JsonText>, timeMs: number, answers: CallAnswers): Outcome {
    const entrypoint = instance.entrypoints.get(path)
    const failed = (code: string): Outcome => ({ outcome: 'error', reasons: undefined, obligations: undefined, code })
    if (entrypoint === undefined) return failed('ERR_UNKNOWN_ENTRYPOINT')
    try {
      const { result } = instance.evaluate(entrypoint, this.#inputOf(members), timeMs, false, answers)
      const { allowed, reasons, obligations } = readResult(result === undefined ? undefined : toSingleLine(result))
      return { outcome: allowed ? 'allow' : 'deny', reasons, obligations, code: undefined }
    } catch (thrown) {
      return failed(toPdpError(thrown).code)
    }
  }

  #inputOf(members: ReadonlyMap<string, JsonText>): JsonText | undefined {
    return withTrusted(members.get('input'), this.#trustedKey, members.get('trusted'))
  }

  /** @throws PdpError ERR_FILE */
  #read(digest: string): Buffer {
    const path = join(this.#archives, `${digest.replace('sha256:', '')}.tar.gz`)
    if (!/^sha256:[0-9a-f]{64}$/.test(digest) || !existsSync(path))
      throw new PdpError('ERR_FILE', `the archive \`${digest.slice(0, 80)}\` is not there`)
    return readFileSync(path)
  }

  /** @param labels what opa.runtime() said, in part */
  #instance(name: string, labels: JsonText, archive: () => Buffer): Promise<PolicyInstance> {
    const key = `${name} ${labels}`
    let instance = this.#instances.get(key)
    if (instance === undefined) {
      instance = this.#load(archive, labels)
      this.#instances.set(key, instance)
      instance.catch(() => {})
      const [oldest] = this.#instances.keys()
      if (this.#instances.size > maxLoaded && oldest !== undefined) this.#instances.delete(oldest)
    }
    return instance
  }

  async #load(archive: () => Buffer, labels: JsonText): Promise<PolicyInstance> {
    const { wasm, data } = await readBundle(archive())
    const host = await createReactorHost(this.#toolchain, `{"version":"${version}","config":{"labels":${labels}},"env":{}}`)
    const { maxSteps, maxMemoryBytes } = configSchema.shape.evaluation.parse({})
    return new PolicyInstance(await compilePolicyModule(wasm), data, host, { maxSteps, maxMemoryBytes })
  }
}

/** Failures that an evaluation leads to by itself. */
const ofPolicy: ReadonlySet<string> = new Set(['ERR_EVALUATION_FAILED', 'ERR_STEPS_EXHAUSTED', 'ERR_BUILTIN_FAILED', 'ERR_RESULT_UNUSABLE'])
