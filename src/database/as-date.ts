// Times as the database answers them.

/**
 * A time as Postgres answered it. An application may have told pg, for all of the process, to leave times as texts
 * (`types.setTypeParser(1184, …)`) or to make objects of its own of them.
 */
export function asDate(time: Date | string): Date {
  return time instanceof Date ? time : new Date(String(time));
}
