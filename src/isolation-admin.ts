// Revocations and quarantines as the admin scope sees them: the port of src/transport/http/isolation-routes.ts over the store. What is
// said is on disk, and its act with it, before anybody is told; it holds from the moment it is in memory.
import type { BundleStore } from './state/bundle-store.ts'
import type { IsolationEntry, IsolationStore } from './state/isolation-store.ts'
import type { IsolationAdmin, IsolationInfo } from './transport/http/isolation-routes.ts'

const acts = { revoked: 'revocation_ended', quarantined: 'released' } as const

/** @param releaseByAnother whether a quarantine is released by somebody else than who began it */
export function createIsolationAdmin(store: IsolationStore, acted: BundleStore, releaseByAnother: boolean): IsolationAdmin {
  const inOne = async (actor: string, act: Parameters<BundleStore['noteWith']>[1], work: () => IsolationEntry): Promise<IsolationInfo> => {
    let entry: IsolationEntry
    try {
      entry = acted.noteWith(
        actor,
        act,
        work,
        ({ id, kind, value, reason }) => `${id}: ${kind} ${value}${reason === '' ? '' : `: ${reason}`}`,
      )
    } catch (thrown) {
      store.reload()
      throw thrown
    }
    await acted.sync()
    return infoOf(entry)
  }
  return {
    add: (effect, { kind, value, before, actions, reason, expiresAtMs }, author) =>
      inOne(author, effect, () =>
        store.add({ effect, kind, value, beforeMs: before, allowedActions: actions, reason, author, expiresAtMs }),
      ),
    end: (effect, id, actor) =>
      inOne(actor, acts[effect], () => store.end(id, effect, actor, effect === 'quarantined' && releaseByAnother)),
    list: (effect) => store.list(effect).map(infoOf),
  }
}

function infoOf(entry: IsolationEntry): IsolationInfo {
  const { id, kind, value, beforeMs, allowedActions, reason, author, atMs, expiresAtMs, endedBy, endedAtMs } = entry
  const time = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString())
  return {
    id,
    kind,
    value,
    before: time(beforeMs),
    ...(entry.effect === 'quarantined' && { allowed_actions: [...allowedActions] }),
    reason,
    author,
    at: new Date(atMs).toISOString(),
    expires_at: time(expiresAtMs),
    ended_by: endedBy,
    ended_at: time(endedAtMs),
  }
}
