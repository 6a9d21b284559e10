// The way of a decision without a service around it: engine, record and file log over a folder of policies.

import type { DecisionLog } from '../../src/audit/decision-log.ts'
import { createRecordWriter } from '../../src/audit/decision-record.ts'
import { openFileLog } from '../../src/audit/file-log.ts'
import { recorded } from '../../src/audit/recorded.ts'
import { BundleLifecycle } from '../../src/bundle-lifecycle.ts'
import { type Config, loadConfig } from '../../src/config.ts'
import type { RecordedDecider } from '../../src/decision/decider.ts'
import { ActiveBundles } from '../../src/policy/active-bundles.ts'
import { createEngine } from '../../src/policy/engine.ts'
import type { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { StateFolder } from '../../src/state/state-folder.ts'

export interface StartedDecider {
  readonly config: Config
  readonly decider: RecordedDecider
  readonly instance: PolicyInstance
  readonly log: DecisionLog
  /** Where the records go. */
  readonly decisionsFolder: string
  close(): Promise<void>
}

/** @param logOptions in place of what is configured by default */
export async function startDecider(
  policy: string,
  stateFolder: string,
  logOptions: Partial<Config['decisionLog']> = {},
): Promise<StartedDecider> {
  const config = loadConfig({ env: {}, overrides: { state: stateFolder, bundles: [{ path: policy }] } })
  const toolchain = new Toolchain()
  const state = new StateFolder(config.state)
  const bundles = new ActiveBundles()
  const { decisionsFolder } = state
  const lifecycle = new BundleLifecycle({
    shadows: new Map(),
    config,
    toolchain,
    store: state.bundles,
    bundles,
    recordsFolder: decisionsFolder,
  })
  const { instance } = await lifecycle.activateSource({ name: 'main', path: policy, defaultEntrypoint: undefined })
  const fail = (error: Error) => {
    throw error
  }
  const log = await openFileLog({
    ...config.decisionLog,
    ...logOptions,
    folder: decisionsFolder,
    origin: 'test',
    keys: [state.logKey()],
    onError: fail,
  })
  const engine = createEngine(bundles, { trustedKey: config.evaluation.trustedKey })
  return {
    config,
    decider: recorded(engine, log, createRecordWriter({ ...config.decisionLog, labels: {} }), fail),
    instance,
    log,
    decisionsFolder,
    async close() {
      await log.close()
      await lifecycle.close()
      await toolchain.close()
      state.close()
    },
  }
}
