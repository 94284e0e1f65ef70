-- Makes the tables of the marts a second time, like dbt: columns, keys, checks and indexes.

create schema hand;

create table hand.d_item (like mart.d_item including all);
create table hand.d_city (like mart.d_city including all);
create table hand.d_customer (like mart.d_customer including all);
create table hand.f_sales (like mart.f_sales including all);
create table hand.f_customer_retention (like mart.f_customer_retention including all);
create table hand.f_shop_retention (like mart.f_shop_retention including all);
create table hand.f_customer_cohort (like mart.f_customer_cohort including all);
create table hand.f_item_cohort (like mart.f_item_cohort including all);
create table hand.f_delivery_day (like mart.f_delivery_day including all);

alter table hand.f_sales
add foreign key (date_id) references mart.d_calendar,
add foreign key (item_id) references hand.d_item,
add foreign key (customer_id) references hand.d_customer,
add foreign key (city_id) references hand.d_city;
alter table hand.f_customer_retention
add foreign key (item_id) references hand.d_item;
alter table hand.f_item_cohort
add foreign key (item_id) references hand.d_item;
alter table hand.f_delivery_day
add foreign key (date_id) references mart.d_calendar;
