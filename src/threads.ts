// How threads of this process are started, from sources as from the published package.
import { type MessagePort, Worker } from 'node:worker_threads'

/**
 * @param module path without its extension, such as `./worker`
 * @param base `import.meta.url` of whoever starts it
 * @param transfer of the data, what goes over instead of being copied
 */
export function startThread(module: string, base: string, data?: object, transfer: readonly MessagePort[] = []): Worker {
  const extension = base.endsWith('.ts') ? 'ts' : 'js'
  return new Worker(new URL(`${module}.${extension}`, base), {
    workerData: data,
    transferList: [...transfer],
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
}
