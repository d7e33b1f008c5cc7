DROP INDEX subscriptions_live;
