// forRoot and forRootAsync by Nest's own builder. Extras are fixed at definition: entities and routes are chosen then.
import { ConfigurableModuleBuilder } from '@nestjs/common';
import type { OAuthModuleExtras, OAuthModuleOptions, OAuthOptionsFactory } from './options.js';

/** The builder's output; `OAUTH_MODULE_OPTIONS` is the raw options' token, read by the module alone. */
export const {
  ConfigurableModuleClass,
  MODULE_OPTIONS_TOKEN: OAUTH_MODULE_OPTIONS,
  OPTIONS_TYPE,
  ASYNC_OPTIONS_TYPE,
} = new ConfigurableModuleBuilder<OAuthModuleOptions>({ moduleName: 'NestOAuthClient' })
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createOAuthOptions' satisfies keyof OAuthOptionsFactory)
  .setExtras<OAuthModuleExtras>(
    { global: true, routePrefix: 'auth', dataSource: undefined },
    (definition) => definition,
  )
  .build();
