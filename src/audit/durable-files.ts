// Small files beside a log whose content is on the disk when a call returns: replaced whole, or appended to.
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/** What was made, renamed or removed in a folder stays so. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

/** The old content or the new one, whole. */
export function writeWhole(path: string, text: string): void {
  const handle = openSync(`${path}.new`, 'w', 0o600)
  try {
    writeSync(handle, text)
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
  renameSync(`${path}.new`, path)
  syncFolder(dirname(path))
}

/** All of it, or none: what cannot be synced is taken back. */
export function appendSynced(path: string, text: string): void {
  const handle = openSync(path, 'a', 0o600)
  const { size } = fstatSync(handle)
  try {
    writeSync(handle, text)
    fsyncSync(handle)
  } catch (error) {
    try {
      ftruncateSync(handle, size)
    } catch {
      // Whoever reads it finds a line that is not whole.
    }
    throw error
  } finally {
    closeSync(handle)
  }
}
