// Parameter decorators for what the guard attached. The compiler compares what they give with the type of the parameter.
import { createParamDecorator, type ExecutionContext, type PipeTransform, type Type } from '@nestjs/common';
import type { OAuthAppUser } from '../options/login.js';
import type { OAuthSession } from '../options/session.js';
import type { AuthenticatedRequest } from './attached.js';
import { policyOf } from './policy.js';
import { requestOf } from './request-context.js';

/** A parameter decorator that fits parameters which take a `Value`. */
export type ParameterOf<Value> = <Target extends object, Key extends PropertyKey | undefined, Index extends number>(
  target: Target,
  key: Key,
  index: Index & Fits<Target, Key, Index, Value>,
) => void;

/** `unknown` where the parameter takes the value, else what no position of a parameter can be, with a text for the compiler's message. */
type Fits<Target, Key, Index extends number, Value> = Key extends keyof Target
  ? Target[Key] extends (...parameters: infer Parameters) => unknown
    ? [Value] extends [Parameters[Index]]
      ? unknown
      : { 'the decorator gives': Value; 'and the type of the user is named in': 'OAuthTypes' }
    : unknown
  : unknown;

type Pipe = PipeTransform | Type<PipeTransform>;

/** Gives the whole, or one member of it; what pipes make of it is their own affair. */
export interface MemberDecorator<Whole> {
  (): ParameterOf<Whole>;
  <Member extends keyof Whole>(member: Member): ParameterOf<Whole[Member]>;
  (...pipes: [Pipe, ...Pipe[]]): ParameterDecorator;
  (member: keyof Whole, ...pipes: [Pipe, ...Pipe[]]): ParameterDecorator;
}

/**
 * The logged-in user, or one member of it: `@CurrentUser() user: OAuthUser`, `@CurrentUser('id') id: string`. With the
 * option `loadUser` it is the application's own, named in `OAuthTypes`. Undefined on `@Public()` routes.
 */
export const CurrentUser: MemberDecorator<OAuthAppUser> = memberDecorator<OAuthAppUser>((request) => request.user);

/** The live session, or one member of it: `@CurrentSession() session: OAuthSession`. Undefined on `@Public()` routes. */
export const CurrentSession: MemberDecorator<OAuthSession> = memberDecorator<OAuthSession>(
  (request) => request.oauthSession,
);

function memberDecorator<Whole>(of: (request: AuthenticatedRequest) => Whole | undefined): MemberDecorator<Whole> {
  return createParamDecorator((member: keyof Whole | undefined, context: ExecutionContext) => {
    // The guard asked nobody here, and the request of a socket may have outlived the session attached to it.
    if (policyOf(context.getHandler(), context.getClass()).open) return undefined;
    const whole = of((requestOf(context)?.native ?? {}) as AuthenticatedRequest);
    return member === undefined ? whole : whole?.[member];
  }) as MemberDecorator<Whole>;
}
