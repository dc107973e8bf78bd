// The demo application. Everything an application needs to log people in is in the two imports below.
import { type DynamicModule, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { OAuthModule } from 'nest-oauth-client';
import { migratedDataSource, oauthMigrations } from 'nest-oauth-client/migrations';
import { ApiController } from './api.controller.js';
import { DemoSettings, demoProviders, LOGGED_OUT } from './demo-settings.js';
import { FilesController } from './files.controller.js';
import { PagesController } from './pages.controller.js';
import { RefreshCounter } from './refresh-counter.service.js';

/** Makes the settings injectable everywhere. */
@Module({})
class SettingsModule {}

/** The application. */
@Module({})
export class AppModule {
  /** Takes what is known only when the demo has started its database and its provider. */
  static with(settings: DemoSettings): DynamicModule {
    return {
      module: AppModule,
      imports: [
        {
          module: SettingsModule,
          global: true,
          providers: [{ provide: DemoSettings, useValue: settings }],
          exports: [DemoSettings],
        },
        TypeOrmModule.forRootAsync({
          inject: [DemoSettings],
          useFactory: ({ databaseUrl }: DemoSettings) => ({
            type: 'postgres' as const,
            url: databaseUrl,
            autoLoadEntities: true,
            migrations: oauthMigrations,
          }),
          dataSourceFactory: migratedDataSource,
        }),
        OAuthModule.forRootAsync({
          inject: [DemoSettings],
          useFactory: (demo: DemoSettings) => ({
            baseUrl: demo.baseUrl,
            encryption: { keys: [{ id: 'demo', secret: demo.encryptionKey }] },
            providers: demoProviders(demo).map(({ definition }) => definition),
            postLogoutRedirect: LOGGED_OUT,
            // Tokens live for half a minute here, so that you can watch. The default is right for real providers.
            refresh: { floor: 1 },
          }),
        }),
      ],
      controllers: [PagesController, ApiController, FilesController],
      providers: [RefreshCounter],
    };
  }
}
