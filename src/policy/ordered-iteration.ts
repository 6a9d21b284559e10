// Functions added to a policy.wasm that iterate over objects and sets in OPA's order. Small ones with strings for keys,
// which is what most results are, are done in the module; all others ask the host (ordered-keys.ts).
import { type Code, asm as w } from '../wasm/assembler.ts'
import type { ModulePatch } from '../wasm/patch.ts'
import { layout } from './runtime-layout.ts'

/** Beyond, sorting once in the host takes less than looking for the next key each time. */
const maxMembers = 8
/** Beyond, a collection has far more buckets than members. */
const maxBuckets = 64

/**
 * As opa_value_iter, but objects and sets of more than one member come in order.
 * @param id the call of the host that does the same for every collection
 */
export function addOrdered(patch: ModulePatch, id: number): number {
  const [node, previous, nextAt] = [0, 1, 2]
  const small = addNextSmall(patch, id)
  const length = [...w.get(node), ...w.loadI32(layout.lengthOf[layout.set])]
  const isType = (type: number): Code => [...w.get(node), ...w.loadByte(0), ...w.i32(type), ...w.equal]
  return patch.addFunction(
    2,
    1,
    w.get(node),
    w.if(
      isType(layout.object),
      w.if(w.i32(layout.objectNext), w.set(nextAt)),
      isType(layout.set),
      w.if(w.i32(layout.setNext), w.set(nextAt)),
      w.get(nextAt),
      w.if(length, w.i32(1), w.greaterUnsigned, w.if(w.get(node), w.get(previous), w.get(nextAt), w.call(small), w.return)),
    ),
    w.get(node),
    w.get(previous),
    w.call(patch.functionNamed('opa_value_iter')),
  )
}

/** Of a collection of several members, the smallest key after `previous`; zero for the first and after the last. */
function addNextSmall(patch: ModulePatch, id: number): number {
  const [node, previous, nextAt, bucket, end, element, key, best] = [0, 1, 2, 3, 4, 5, 6, 7]
  const compare = patch.functionNamed('opa_value_compare')
  const askHost = [
    ...w.i32(id),
    ...w.i32(0),
    ...w.get(node),
    ...w.get(previous),
    ...w.call(patch.functionNamed('opa_builtin2')),
    ...w.return,
  ]
  const keyIs = (type: number): Code => [...w.get(key), ...w.loadByte(0), ...w.i32(type), ...w.notEqual]
  /** Zero stands for no bound. */
  const isBeyond = (bound: number, order: Code): Code => [
    ...w.get(bound),
    ...w.choose([...w.get(key), ...w.get(bound), ...w.call(compare), ...w.i32(0), ...order], w.i32(1)),
  ]
  return patch.addFunction(
    3,
    5,
    w.get(node),
    w.loadI32(layout.lengthOf[layout.set]),
    w.i32(maxMembers),
    w.greaterUnsigned,
    w.get(node),
    w.loadI32(layout.bucketCount),
    w.i32(maxBuckets),
    w.greaterUnsigned,
    w.or,
    w.if(askHost),
    w.get(node),
    w.loadI32(layout.buckets),
    w.tee(bucket),
    w.get(node),
    w.loadI32(layout.bucketCount),
    w.i32(4),
    w.multiply,
    w.add,
    w.set(end),
    w.loop(
      w.get(bucket),
      w.loadI32(0),
      w.set(element),
      w.block(
        w.loop(
          w.get(element),
          w.isZero,
          w.branchIf(1),
          w.get(element),
          w.loadI32(0),
          w.set(key),
          keyIs(layout.string),
          keyIs(layout.internedString),
          w.and,
          w.if(askHost),
          isBeyond(previous, w.greaterSigned),
          w.if(isBeyond(best, w.lessSigned), w.if(w.get(key), w.set(best))),
          w.get(element),
          w.get(nextAt),
          w.add,
          w.loadI32(0),
          w.set(element),
          w.branch(0),
        ),
      ),
      w.get(bucket),
      w.i32(4),
      w.add,
      w.tee(bucket),
      w.get(end),
      w.lessUnsigned,
      w.branchIf(0),
    ),
    w.get(best),
  )
}
