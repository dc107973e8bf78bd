// The Nest application all variants share: one guarded route, `GET /bench`, and where needed `GET /token`. Plain
// JavaScript, so decorators are called by hand.
import 'reflect-metadata';
import { Controller, Get, Module, Req, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

/** Decorates `method` of a class as `GET /path`, with the request as its argument and the given guards. */
function get(type, method, path, guards) {
  const descriptor = Object.getOwnPropertyDescriptor(type.prototype, method);
  Get(path)(type.prototype, method, descriptor);
  Req()(type.prototype, method, 0);
  if (guards.length > 0) UseGuards(...guards)(type.prototype, method, descriptor);
}

/**
 * @param {object} options
 * @param {'express' | 'fastify'} options.platform
 * @param {number} options.port
 * @param {any[]} [options.guards] before both routes
 * @param {(request: any) => unknown} options.answer what `GET /bench` returns
 * @param {(request: any, app: any) => unknown} [options.token] what `GET /token` returns
 * @param {any[]} [options.imports]
 * @param {boolean} [options.bodyParser]
 * @param {(app: any) => unknown} [options.before] called before the routes are made, to add middleware
 */
export async function nestApp({ platform, port, guards = [], answer, token, imports = [], bodyParser, before }) {
  class BenchController {
    bench(request) {
      return answer(request);
    }
    token(request) {
      return token(request, app);
    }
  }
  get(BenchController, 'bench', 'bench', guards);
  if (token) get(BenchController, 'token', 'token', guards);
  Controller()(BenchController);
  class AppModule {}
  Module({ imports, controllers: [BenchController] })(AppModule);

  const adapter = platform === 'fastify' ? [new (await import('@nestjs/platform-fastify')).FastifyAdapter()] : [];
  const app = await NestFactory.create(AppModule, ...adapter, {
    logger: ['error', 'fatal'],
    abortOnError: false,
    ...(bodyParser === undefined ? {} : { bodyParser }),
  });
  await before?.(app);
  await app.listen(port, '127.0.0.1');
  return app;
}

/** A guard class from one function. */
export function guardOf(canActivate) {
  return class BenchGuard {
    canActivate(context) {
      return canActivate(context.switchToHttp().getRequest(), context);
    }
  };
}

/** The value of one cookie of a request, without a cookie parser. */
export function cookieOf(request, name) {
  const header = request.headers.cookie;
  if (!header) return undefined;
  for (const part of header.split('; ')) if (part.startsWith(`${name}=`)) return part.slice(name.length + 1);
  return undefined;
}
