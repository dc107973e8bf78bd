// What AccountService needs of those above it: disconnecting ends sessions and grants, which accounts do not know.

/** How an identity may be disconnected. */
export interface UnlinkOptions {
  /** Also the user's only identity, after which nobody can log in as this user any more. @defaultValue false */
  evenLast?: boolean;
}

/** Disconnects identities. */
export abstract class AccountUnlinker {
  /** See `AccountService.unlink()`. */
  abstract unlink(userId: string, accountId: string, options?: UnlinkOptions): Promise<boolean>;
}
